"""Check a drop as ingesting would, and write nothing."""

from storage.objects import open_store
from tasks.drop_annotations import DropContent, match_documents
from tasks.drop_images import store_images
from tasks.report.data import Progress
from tasks.seal_drops import SealedDrop


def check_drop(
    drop: SealedDrop,
    *,
    max_image_px: int,
    max_image_bytes: int,
    max_json_bytes: int,
    progress: Progress | None = None,
) -> DropContent:
    """Everything that is good and bad about a drop.

    Args:
        drop: The drop, as `read_drop` read it.
        max_image_px: Largest number of pixels of an image.
        max_image_bytes: Largest size of an image file.
        max_json_bytes: Largest size of a COCO document.
        progress: Told after each image.
    """
    source = open_store(drop.place.root)
    images = store_images(
        source, None, drop, max_px=max_image_px, max_bytes=max_image_bytes, progress=progress
    )
    return match_documents(source, drop, images, max_bytes=max_json_bytes)
