"""What ingesting a drop would do: images, masks, megabytes and accelerator time; writes nothing."""

from dataclasses import dataclass

from tasks.check_drop import check_drop
from tasks.drop_annotations import DropContent
from tasks.drops import FoundDrop
from tasks.report.data import Progress
from tasks.seal_drops import read_found
from vision.masks import rle_to_png

_SAMPLED_MASKS = 200
_BYTES_PER_MB = 1_000_000


@dataclass(frozen=True)
class IngestPlan:
    """What would become of a drop.

    Attributes:
        source: Where it lies.
        files: Files in it.
        images: Images that would be stored.
        masks: Annotations, each with a mask PNG, that would be stored.
        quarantined: Rows of the quarantine.
        rejected: Whether the whole drop would be refused.
        images_mb: Size of the images' files, MB.
        masks_mb: Size of the mask PNGs, MB; estimated from a sample of them.
        gpu_hours: Accelerator time to segment the images, at the seconds an image that were given.
        problem: Why it may not be looked into; all numbers are 0 then.
    """

    source: str
    files: int
    images: int
    masks: int
    quarantined: int
    rejected: bool
    images_mb: float
    masks_mb: float
    gpu_hours: float
    problem: str = ""


def plan_ingest(
    found: FoundDrop,
    *,
    max_image_px: int,
    max_image_bytes: int,
    max_json_bytes: int,
    gpu_seconds_per_image: float,
    progress: Progress | None = None,
) -> IngestPlan:
    """Check a drop as ingesting would, and add up what would be stored.

    Args:
        found: The drop, as the store lists it.
        max_image_px: Largest number of pixels of an image.
        max_image_bytes: Largest size of an image file.
        max_json_bytes: Largest size of a COCO document.
        gpu_seconds_per_image: How long an accelerator takes to segment an image, s.
        progress: Told after each file and image.

    Raises:
        EmptyDropError: If there is no file.
    """
    if found.problem:
        return IngestPlan(found.place.source, 0, 0, 0, 0, False, 0, 0, 0, found.problem)
    drop = read_found(found, progress)
    content = check_drop(
        drop,
        max_image_px=max_image_px,
        max_image_bytes=max_image_bytes,
        max_json_bytes=max_json_bytes,
        progress=progress,
    )
    size_bytes = {file.key: file.size_bytes for file in drop.files}
    return IngestPlan(
        source=drop.place.source,
        files=len(drop.files),
        images=len(content.images),
        masks=len(content.annotations),
        quarantined=len(content.findings),
        rejected=content.rejected,
        images_mb=sum(size_bytes[key] for key in content.images) / _BYTES_PER_MB,
        masks_mb=_masks_bytes(content) / _BYTES_PER_MB,
        gpu_hours=len(content.images) * gpu_seconds_per_image / 3600,
    )


def _masks_bytes(content: DropContent) -> float:
    step = max(1, len(content.annotations) // _SAMPLED_MASKS)
    sizes = [
        len(rle_to_png(annotation.rle, image.stored.height_px, image.stored.width_px))
        for image, annotation in content.annotations[::step]
    ]
    return len(content.annotations) * sum(sizes) / max(1, len(sizes))
