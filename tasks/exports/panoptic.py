"""COCO panoptic: panoptic.json, an RGB PNG of segment ids per image in panoptic/, and images/."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from tasks.exports.entries import INFO, annotation_entry, category_ids, image_entry
from tasks.exports.selection import ExportImage, ExportObject
from vision.coco.document_writer import DocumentWriter
from vision.coco.panoptic_png import SegmentMasks, ids_to_png, paint_masks
from vision.draw.colors import label_colors
from vision.masks import rle_union

# Programs look for the PNGs in a folder named as the document.
_NAME = "panoptic"


class PanopticFormat:
    """Writes COCO panoptic."""

    name = "coco-panoptic"

    def __init__(self, stuff: Sequence[str] = ()) -> None:
        """Say what is not countable.

        Args:
            stuff: labels that are stuff, beside those the tables say are; their masks on an image
                become one segment.
        """
        self._stuff = set(stuff)
        self._partly = self._hidden = 0

    def start(self, folder: Path, labels: Sequence[str]) -> None:
        """Make the folder of the PNGs and open the document."""
        self._folder = folder / _NAME
        self._folder.mkdir()
        self._categories = category_ids(labels)
        self._document = DocumentWriter(folder / f"{_NAME}.json", INFO)

    def picture_path(self, image: ExportImage, extension: str) -> str:
        """images/000000000001.jpg."""
        return f"images/{image.number:012d}{extension}"

    def add(
        self, image: ExportImage, picture: str, objects: Sequence[ExportObject]
    ) -> Sequence[ExportObject]:
        """Write an image's PNG and its segments."""
        items = self._merged(image, objects)
        ids = paint_masks([item.rle for item in items], image.height_px, image.width_px)
        visible = SegmentMasks(ids)
        present = set(visible.ids)
        segments = []
        written = []
        for number, item in enumerate(items, start=1):
            if number not in present:
                self._hidden += 1
                continue
            shown = replace(item, rle=visible.rle(number))
            self._partly += shown.rle != item.rle
            entry = annotation_entry(number, image, shown, self._categories[item.label])
            del entry["image_id"]
            segments.append(entry)
            written.append(shown)
        file = f"{image.number:012d}.png"
        (self._folder / file).write_bytes(ids_to_png(ids))
        self._document.add_image(image_entry(image, picture))
        self._document.add_annotation(
            {"image_id": image.number, "file_name": file, "segments_info": segments}
        )
        return written

    def finish(self) -> Mapping[str, int]:
        """End the document; tell how many masks others hide, because a pixel has one segment."""
        colors = label_colors(self._categories)
        self._document.finish(
            [
                {
                    "id": number,
                    "name": label,
                    "supercategory": label,
                    "isthing": int(label not in self._stuff),
                    "color": list(colors[label]),
                }
                for label, number in self._categories.items()
            ]
        )
        return {"masks_partly_hidden": self._partly, "masks_hidden": self._hidden}

    def close(self) -> None:
        """Close the document."""
        self._document.close()

    def _merged(self, image: ExportImage, objects: Sequence[ExportObject]) -> list[ExportObject]:
        """The objects, with those of one kind of stuff as one."""
        self._stuff |= {item.label for item in objects if item.isthing is False}
        stuff: dict[str, list[ExportObject]] = {}
        items = []
        for item in objects:
            if item.label in self._stuff:
                stuff.setdefault(item.label, []).append(item)
            else:
                items.append(item)
        for parts in stuff.values():
            union = rle_union([part.rle for part in parts], image.height_px, image.width_px)
            items.append(replace(parts[0], rle=union))
        return items
