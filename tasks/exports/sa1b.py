"""SA-1B: a JSON file beside each image, with masks that have no category."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tasks.exports.entries import rle_entry
from tasks.exports.selection import ExportImage, ExportObject
from vision.masks import rle_area, rle_bbox


class Sa1bFormat:
    """Writes SA-1B."""

    name = "sa1b"

    def __init__(self) -> None:
        """Start counting."""
        self._written = self._crowds = 0

    def start(self, folder: Path, labels: Sequence[str]) -> None:
        """Remember the folder."""
        self._folder = folder

    def picture_path(self, image: ExportImage, extension: str) -> str:
        """sa_1.jpg."""
        return f"sa_{image.number}{extension}"

    def add(
        self, image: ExportImage, picture: str, objects: Sequence[ExportObject]
    ) -> Sequence[ExportObject]:
        """Write an image's JSON file."""
        document = {
            "image": {
                "image_id": image.number,
                "width": image.width_px,
                "height": image.height_px,
                "file_name": picture,
            },
            "annotations": [self._entry(image, item) for item in objects],
        }
        text = json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        (self._folder / f"sa_{image.number}.json").write_text(text + "\n", encoding="utf-8")
        return objects

    def finish(self) -> Mapping[str, int]:
        """Tell how many masks were of crowds, which are masks like any other here."""
        return {"crowds_not_marked": self._crowds}

    def close(self) -> None:
        """Nothing stays open."""

    def _entry(self, image: ExportImage, item: ExportObject) -> dict[str, Any]:
        self._written += 1
        self._crowds += item.iscrowd
        whole = (0.0, 0.0, float(image.width_px), float(image.height_px))
        return {
            "id": self._written,
            "segmentation": rle_entry(image, item.rle),
            "bbox": list(rle_bbox(item.rle, image.height_px, image.width_px)),
            "area": rle_area(item.rle),
            # Null where nobody measured it: an annotation was drawn, not predicted.
            "predicted_iou": item.predicted_iou,
            "stability_score": item.stability_score,
            "crop_box": list(item.crop_box_xywh or whole),
            "point_coords": [list(item.point_xy)] if item.point_xy else [],
        }
