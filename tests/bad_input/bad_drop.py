"""A good drop of two images with an annotation each, for a case to break in one place."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from tests.drops import BLUE, RED, box_picture, write_box_drop

Verdict = Literal["reject", "annotation", "image", "fix", "accept"]
WIDTH_PX, HEIGHT_PX = 64, 48


@dataclass
class BadDrop:
    """A drop in a folder. `document` is written as its annotations.json unless `raw` is set."""

    folder: Path
    document: dict[str, Any]
    raw: bytes | None = None

    @property
    def image(self) -> dict[str, Any]:
        """The entry of the second image."""
        return self.document["images"][1]

    @property
    def annotation(self) -> dict[str, Any]:
        """The annotation of the second image."""
        return self.document["annotations"][1]

    @property
    def picture(self) -> Path:
        """The file of the second image."""
        return self.folder / "images/p2.png"

    def rle(self, counts: Any, size: Any = (HEIGHT_PX, WIDTH_PX)) -> None:
        """Give the second annotation a run-length encoding, for a crowd."""
        size = list(size) if isinstance(size, tuple) else size
        self.annotation.update(iscrowd=1, segmentation={"size": size, "counts": counts})

    def polygons(self, *rings: Any) -> None:
        """Give the second annotation other polygons."""
        self.annotation["segmentation"] = list(rings)

    def rename(self, name: str) -> None:
        """Let the document call the second image by another name."""
        self.image["file_name"] = name

    def replace_picture(self, name: str, data: bytes) -> None:
        """Put other bytes in the place of the second image, whose size is then not stated."""
        self.picture.unlink()
        (self.folder / "images" / name).write_bytes(data)
        self.image["file_name"] = f"images/{name}"
        del self.image["width"], self.image["height"]

    def edit_text(self, old: str, new: str) -> None:
        """Change the document's text where it cannot be said in Python values."""
        text = json.dumps(self.document)
        assert old in text
        self.raw = text.replace(old, new, 1).encode("utf-8", "surrogatepass")

    def write(self) -> None:
        """Write the document."""
        raw = json.dumps(self.document).encode() if self.raw is None else self.raw
        (self.folder / "annotations.json").write_bytes(raw)


class Case(NamedTuple):
    """One row of the bad-input matrix."""

    number: int
    verdict: Verdict
    rule: str
    spoil: Callable[[BadDrop], None]


CASES: dict[int, Case] = {}


def case(
    number: int, verdict: Verdict, rule: str = ""
) -> Callable[[Callable[[BadDrop], Any]], Callable[[BadDrop], Any]]:
    """Register what spoils a drop; `rule` is the one that the first finding or note names."""

    def register(spoil: Callable[[BadDrop], Any]) -> Callable[[BadDrop], Any]:
        assert number not in CASES
        CASES[number] = Case(number, verdict, rule, spoil)
        return spoil

    return register


def good_drop(folder: Path) -> BadDrop:
    """The drop before it is broken."""
    pictures = [[((4, 4, 10, 8), RED)], [((30, 20, 12, 10), BLUE)]]
    return BadDrop(folder, write_box_drop(folder, pictures))


def noise(height_px: int = HEIGHT_PX, width_px: int = WIDTH_PX) -> np.ndarray:
    """A picture that does not compress, so that damage anywhere hits pixels."""
    return np.random.default_rng(5).integers(0, 256, (height_px, width_px, 3), dtype=np.uint8)


def plain_picture() -> np.ndarray:
    """The second picture as an RGB array."""
    return box_picture([((30, 20, 12, 10), BLUE)])
