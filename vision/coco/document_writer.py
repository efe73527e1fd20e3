"""Write a COCO document of any length, entry by entry."""

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

_CHUNK_BYTES = 1 << 20


class DocumentWriter:
    """Writes images and annotations in any order; the same entries give the same bytes.

    To be closed, whether it was finished or not.
    """

    def __init__(self, path: Path, info: Mapping[str, Any]) -> None:
        """Begin a document.

        Args:
            path: The file to write; its folder exists.
            info: What is to be under `info`.
        """
        self._file = path.open("wb")
        # The file lists images before annotations, which come in between: they wait here.
        self._waiting = TemporaryFile(dir=path.parent)  # noqa: SIM115 - closed by close()
        self._file.write(b'{"info":' + _json(info) + b',"images":[')
        self._images = self._annotations = 0

    def add_image(self, entry: Mapping[str, Any]) -> None:
        """Write an entry of `images`.

        Raises:
            ValueError: A number is not finite.
        """
        self._file.write(b"," * bool(self._images) + _json(entry))
        self._images += 1

    def add_annotation(self, entry: Mapping[str, Any]) -> None:
        """Write an entry of `annotations`.

        Raises:
            ValueError: A number is not finite.
        """
        self._waiting.write(b"," * bool(self._annotations) + _json(entry))
        self._annotations += 1

    def finish(self, categories: Sequence[Mapping[str, Any]]) -> None:
        """Write the categories and with them the end of the document.

        Args:
            categories: All entries of `categories`.
        """
        self._file.write(b'],"annotations":[')
        self._waiting.seek(0)
        shutil.copyfileobj(self._waiting, self._file, _CHUNK_BYTES)
        self._file.write(b'],"categories":' + _json(categories) + b"}\n")

    def close(self) -> None:
        """Close the file."""
        self._waiting.close()
        self._file.close()


def _json(value: Any) -> bytes:
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.encode("utf-8")
