"""The image files of an export: the stored bytes, upright."""

from io import BytesIO
from pathlib import Path, PurePosixPath

from PIL import Image

from storage.objects import ObjectNotFoundError, ObjectStore
from tasks.exports.selection import ExportImage
from tasks.report.gather import image_key
from vision.images import ImageError, decode_image


def picture_extension(image: ExportImage) -> str:
    """The ending of an image's file in an export, with its dot."""
    # The masks lie on the upright picture, and half of all programs ignore the EXIF orientation.
    return ".png" if image.exif_orientation != 1 else PurePosixPath(image.uri).suffix


def copy_picture(store: ObjectStore, image: ExportImage, target: Path, max_px: int) -> bool:
    """Copy an image; one with an EXIF orientation is turned and written as PNG, which is exact.

    Args:
        store: the objects of the root.
        image: the image.
        target: file to write; its folder is made.
        max_px: an image to be turned must not have more pixels.

    Returns:
        False if the image is not in the store, or is to be turned and cannot be decoded.
    """
    try:
        data = store.read(image_key(image.image_id, image.uri))
        if image.exif_orientation != 1:
            buffer = BytesIO()
            Image.fromarray(decode_image(data, max_px).rgb).save(buffer, "PNG")
            data = buffer.getvalue()
    except (ObjectNotFoundError, ImageError):
        return False
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(data)
    return True
