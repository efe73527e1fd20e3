"""The images and annotations of a checked COCO document."""

from dataclasses import dataclass, field
from typing import Literal

from vision.coco.findings import Finding
from vision.coco.identifiers import CocoId

SegmentationKind = Literal[
    "polygon", "uncompressed_rle", "compressed_rle", "mask_file", "panoptic_png"
]


@dataclass(frozen=True)
class CocoImage:
    """One entry of `images`.

    Attributes:
        id: The id as given; digits in strings are read as integers.
        file_name: Relative path of the image file, checked.
        width: Width in pixels.
        height: Height in pixels.
        split: `train`, `val` or whatever the file says; None where it says nothing.
        pointer: JSON pointer to the entry.
    """

    id: CocoId
    file_name: str
    width: int
    height: int
    split: str | None = None
    pointer: str = ""


@dataclass(frozen=True)
class CocoAnnotation:
    """One entry of `annotations`, with its mask rasterised.

    Attributes:
        id: The id as given; digits in strings are read as integers.
        image_id: Id of a `CocoImage` of the same document.
        category: Name of the category.
        iscrowd: Whether the mask covers a group that was not told apart.
        bbox_xywh: Smallest box around the mask: x, y, width, height in pixels.
        area_px: Foreground pixels of the mask.
        rle: Mask at the size of the image, as canonical compressed COCO counts.
        pointer: JSON pointer to the entry.
        segmentation_kind: The form in which the mask was given.
    """

    id: CocoId
    image_id: CocoId
    category: str
    iscrowd: bool
    bbox_xywh: tuple[float, float, float, float]
    area_px: int
    rle: bytes
    pointer: str = ""
    segmentation_kind: SegmentationKind = "polygon"


@dataclass(frozen=True)
class CheckedDocument:
    """What can be used of a COCO file, and what was found wrong with the rest.

    Attributes:
        images: Usable images, in file order.
        annotations: Usable annotations, in file order.
        categories: Name of each category by id.
        findings: Broken rules. A single `reject` means that nothing is usable.
        set_aside: Ids of images that cannot be used.
        refused_names: For each finding that sets an image aside, by its pointer: the image's
            `file_name`, None where it has none.
    """

    images: list[CocoImage] = field(default_factory=list)
    annotations: list[CocoAnnotation] = field(default_factory=list)
    categories: dict[CocoId, str] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    set_aside: frozenset[CocoId] = frozenset()
    refused_names: dict[str, str | None] = field(default_factory=dict)

    @property
    def rejected(self) -> bool:
        """Whether the whole document was refused."""
        return any(finding.verdict == "reject" for finding in self.findings)
