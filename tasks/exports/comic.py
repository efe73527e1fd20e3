"""The comic fine-tuning layout: data/images, data/masks and data/annotations.json.

Masks are one PNG each, named by image and annotation, in a folder per split. The paths in
annotations.json are relative to data/.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from tasks.exports.entries import INFO, annotation_entry, category_ids, image_entry, split_folder
from tasks.exports.selection import ExportImage, ExportObject
from vision.coco.document_writer import DocumentWriter
from vision.masks import rle_to_png
from vision.masks.png import BitDepth

_DATA = "data"
_SPLITS = ("train", "val")


class ComicFormat:
    """Writes the comic layout."""

    name = "comic"

    def __init__(self, bit_depth: BitDepth = 1) -> None:
        """Choose how the masks' pixels are stored.

        Args:
            bit_depth: 1, or 8 for readers that need mode `L` (0 and 255).
        """
        self._bit_depth = bit_depth
        self._written = 0

    def start(self, folder: Path, labels: Sequence[str]) -> None:
        """Make the folders and open the document."""
        self._data = folder / _DATA
        for split in _SPLITS:
            (self._data / "images" / split).mkdir(parents=True)
            (self._data / "masks" / split).mkdir(parents=True)
        self._categories = category_ids(labels)
        self._document = DocumentWriter(self._data / "annotations.json", INFO)

    def picture_path(self, image: ExportImage, extension: str) -> str:
        """data/images/train/000000000001.jpg."""
        return f"{_DATA}/images/{split_folder(image.split)}/{image.number:012d}{extension}"

    def add(
        self, image: ExportImage, picture: str, objects: Sequence[ExportObject]
    ) -> Sequence[ExportObject]:
        """Write an image's masks and annotations."""
        split = split_folder(image.split)
        entry = image_entry(image, picture.removeprefix(f"{_DATA}/"))
        self._document.add_image(entry | {"split": split})
        (self._data / "masks" / split).mkdir(parents=True, exist_ok=True)
        for item in objects:
            self._written += 1
            file = f"masks/{split}/{image.number:012d}_{self._written:012d}.png"
            png = rle_to_png(item.rle, image.height_px, image.width_px, self._bit_depth)
            (self._data / file).write_bytes(png)
            entry = annotation_entry(self._written, image, item, self._categories[item.label])
            self._document.add_annotation(entry | {"segmentation_file": file})
        return objects

    def finish(self) -> Mapping[str, int]:
        """End the document; every mask can be expressed."""
        self._document.finish([{"id": n, "name": label} for label, n in self._categories.items()])
        return {}

    def close(self) -> None:
        """Close the document."""
        self._document.close()
