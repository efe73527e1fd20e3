"""COCO instances: annotations.json with run lengths or polygons, and images/ beside it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from tasks.exports.entries import INFO, annotation_entry, category_ids, image_entry, rle_entry
from tasks.exports.selection import ExportImage, ExportObject
from vision.coco.document_writer import DocumentWriter
from vision.coco.outlines import exact_polygons

Segmentation = Literal["rle", "polygon"]

AS_RLE = "masks_kept_as_rle"


class PolygonLossError(ValueError):
    """Some masks have no polygons that are rasterised to the same pixels.

    Attributes:
        masks: how many.
    """

    def __init__(self, masks: int) -> None:
        self.masks = masks
        what = "1 mask has holes" if masks == 1 else f"{masks:,} masks have holes"
        super().__init__(
            f"{what} or too many parts, which polygons would lose; nothing was written. Use "
            "--segmentation rle, or leave --strict out to have these as RLE and the rest as "
            "polygons"
        )


class CocoFormat:
    """Writes COCO instances."""

    name = "coco"

    def __init__(self, segmentation: Segmentation = "rle", strict: bool = False) -> None:
        """Choose how masks are written.

        Args:
            segmentation: `rle` is exact for every mask; `polygon` keeps those masks as RLE which
                polygons cannot express exactly.
            strict: refuse to write when a mask would be kept as RLE.
        """
        self._segmentation = segmentation
        self._strict = strict
        self._written = self._as_rle = 0

    def start(self, folder: Path, labels: Sequence[str]) -> None:
        """Open the document."""
        self._categories = category_ids(labels)
        self._document = DocumentWriter(folder / "annotations.json", INFO)

    def picture_path(self, image: ExportImage, extension: str) -> str:
        """images/000000000001.jpg."""
        return f"images/{image.number:012d}{extension}"

    def add(
        self, image: ExportImage, picture: str, objects: Sequence[ExportObject]
    ) -> Sequence[ExportObject]:
        """Write an image and its annotations."""
        self._document.add_image(image_entry(image, picture))
        for item in objects:
            self._written += 1
            entry = annotation_entry(self._written, image, item, self._categories[item.label])
            self._document.add_annotation(entry | {"segmentation": self._mask(image, item)})
        return objects

    def finish(self) -> Mapping[str, int]:
        """End the document; tell how many masks are RLE though polygons were asked for.

        Raises:
            PolygonLossError: there are some, and `strict` was chosen.
        """
        self._document.finish([{"id": n, "name": label} for label, n in self._categories.items()])
        if self._strict and self._as_rle:
            raise PolygonLossError(self._as_rle)
        return {AS_RLE: self._as_rle}

    def close(self) -> None:
        """Close the document."""
        self._document.close()

    def _mask(self, image: ExportImage, item: ExportObject) -> Any:
        # Readers take a crowd's mask as run lengths only.
        if self._segmentation == "polygon" and not item.iscrowd:
            polygons = exact_polygons(item.rle, image.height_px, image.width_px)
            if polygons is not None:
                return polygons
            self._as_rle += 1
        return rle_entry(image, item.rle)
