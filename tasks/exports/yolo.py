"""YOLO segmentation: images/SPLIT, labels/SPLIT with a polygon a line, and dataset.yaml."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

from tasks.exports.entries import split_folder
from tasks.exports.selection import ExportImage, ExportObject
from vision.coco.outlines import one_ring

_SPLITS = ("train", "val")
# A coordinate is off by at most 0.005 px on an image of 10,000 px.
_DIGITS = 6


class YoloFormat:
    """Writes YOLO segmentation labels."""

    name = "yolo"

    def __init__(self) -> None:
        """Start counting."""
        self._holed = self._joined = self._crowds = 0

    def start(self, folder: Path, labels: Sequence[str]) -> None:
        """Make the folders."""
        self._folder = folder
        self._labels = list(labels)
        self._classes = {label: number for number, label in enumerate(labels)}
        self._splits = set(_SPLITS)
        for split in _SPLITS:
            (folder / "images" / split).mkdir(parents=True)
            (folder / "labels" / split).mkdir(parents=True)

    def picture_path(self, image: ExportImage, extension: str) -> str:
        """images/train/000000000001.jpg."""
        return f"images/{split_folder(image.split)}/{image.number:012d}{extension}"

    def add(
        self, image: ExportImage, picture: str, objects: Sequence[ExportObject]
    ) -> Sequence[ExportObject]:
        """Write an image's labels; programs find them by the name of the image."""
        written = [item for item in objects if not item.iscrowd]
        self._crowds += len(objects) - len(written)
        split = split_folder(image.split)
        self._splits.add(split)
        file = self._folder / "labels" / split / f"{image.number:012d}.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("".join(self._line(image, item) for item in written), encoding="utf-8")
        return written

    def finish(self) -> Mapping[str, int]:
        """Write dataset.yaml; tell how many objects lost holes, were joined, or are crowds."""
        document = {split: f"images/{split}" for split in [*_SPLITS, *sorted(self._splits)]}
        text = yaml.safe_dump(
            document | {"names": dict(enumerate(self._labels))},
            allow_unicode=True,
            sort_keys=False,
        )
        (self._folder / "dataset.yaml").write_text(text, encoding="utf-8")
        return {
            "holes_filled": self._holed,
            "parts_joined": self._joined,
            "crowds_left_out": self._crowds,
        }

    def close(self) -> None:
        """Nothing stays open."""

    def _line(self, image: ExportImage, item: ExportObject) -> str:
        ring, outlines = one_ring(item.rle, image.height_px, image.width_px)
        self._holed += bool(outlines.holes)
        self._joined += len(outlines.outer) > 1
        sides = (image.width_px, image.height_px)
        values = [f"{value / sides[i % 2]:.{_DIGITS}g}" for i, value in enumerate(ring)]
        return f"{self._classes[item.label]} {' '.join(values)}\n"
