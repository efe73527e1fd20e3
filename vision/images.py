"""Decode untrusted image files into upright RGB arrays, and hash them for near-duplicate groups."""

import reprlib
import warnings
from dataclasses import dataclass
from io import BytesIO

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

ALLOWED_FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "GIF")
DEFAULT_MAX_PX = 100_000_000

_ORIENTATION_TAG = 0x0112
_SIXTEEN_BIT_MODES = ("I;16", "I;16L", "I;16B", "I;16N")
_OPAQUE_MODES = ("1", "L", "P", "RGB", "CMYK", "YCbCr")
_ALPHA_MODES = ("RGBA", "LA", "PA", "La", "RGBa")


class ImageError(ValueError):
    """Bytes that cannot be used as one still image.

    Attributes:
        rule: The broken rule: `image.empty`, `image.format`, `image.too_large`, `image.animated`,
            `image.pixel_type`, `image.truncated` or `image.corrupt`.
        value: The offending part of the input.
    """

    def __init__(self, rule: str, value: object) -> None:
        self.rule = rule
        self.value = value
        super().__init__(f"{rule}: {reprlib.repr(value)}")


@dataclass(frozen=True)
class DecodedImage:
    """An image as people see it.

    Attributes:
        rgb: uint8 array of shape (height, width, 3), C-contiguous, upright.
        width_px: Width after the EXIF orientation is applied, in pixels.
        height_px: Height after the EXIF orientation is applied, in pixels.
        format: The format found in the bytes, whatever the file is called: `JPEG`, `PNG`, ...
        exif_orientation: The orientation in the file, 1 to 8; 1 where there is none.
    """

    rgb: NDArray[np.uint8]
    width_px: int
    height_px: int
    format: str
    exif_orientation: int


def decode_image(data: bytes, max_px: int = DEFAULT_MAX_PX) -> DecodedImage:
    """Decode every pixel of an image file.

    Sixteen-bit grays are scaled (not clipped) to eight bits, transparency is laid on white, and the
    EXIF orientation is applied. ICC profiles are ignored.

    Args:
        data: The file: JPEG, PNG, WebP, TIFF or GIF, recognised by content.
        max_px: Largest width * height decoded.

    Raises:
        ImageError: The bytes are empty, of another format, damaged, too large, an animation or
            several pages, or hold pixels that have no defined brightness (floats, 32-bit integers).
    """
    if not data:
        raise ImageError("image.empty", "0 bytes")
    try:
        with Image.open(BytesIO(data), formats=ALLOWED_FORMATS) as image:
            decoded = _decode(image, max_px)
        if decoded.format == "PNG":
            # load() skips the checksums of pixel chunks; verify() needs a file of its own.
            with Image.open(BytesIO(data), formats=("PNG",)) as image:
                image.verify()
        return decoded
    except ImageError:
        raise
    except UnidentifiedImageError:
        raise ImageError("image.format", data[:16]) from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageError("image.too_large", error) from error
    except MemoryError:
        raise
    except Exception as error:
        # Damaged bytes make the decoders raise nearly anything: OSError, SyntaxError, struct.error,
        # ValueError, IndexError. All of them mean the same here.
        truncated = "truncated" in str(error).lower()
        raise ImageError("image.truncated" if truncated else "image.corrupt", error) from error


def perceptual_hash(rgb: NDArray[np.uint8]) -> str:
    """Difference hash: near-duplicates (resized, recompressed, brightened) differ in few bits.

    Each bit says whether one of 8 x 8 cells is darker than its right neighbour.

    Args:
        rgb: uint8 array of shape (height, width, 3).

    Returns:
        64 bits as 16 hexadecimal digits.
    """
    gray = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    cells = cv2.resize(gray, (9, 8), interpolation=cv2.INTER_AREA)
    return np.packbits(cells[:, :-1] < cells[:, 1:]).tobytes().hex()


def _decode(image: Image.Image, max_px: int) -> DecodedImage:
    if image.width * image.height > max_px:
        raise ImageError("image.too_large", f"{image.width} x {image.height} px")
    found_format = image.format or ""
    # Phones append a depth map or a thumbnail as a second picture: MPO is a JPEG to everyone else.
    if found_format == "MPO":
        found_format = "JPEG"
    elif (frames := getattr(image, "n_frames", 1)) > 1:
        raise ImageError("image.animated", f"{frames} frames or pages")
    orientation = _orientation(image)
    image.load()
    rgb = _to_rgb(image)
    # Pillow turns TIFFs itself while loading, and then drops the tag.
    rgb = np.ascontiguousarray(_upright(rgb, _orientation(image)))
    height, width = rgb.shape[:2]
    return DecodedImage(rgb, width, height, found_format, orientation)


def _orientation(image: Image.Image) -> int:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a warning a photo would bury those that matter
            value = image.getexif().get(_ORIENTATION_TAG, 1)
    except Exception:
        return 1  # a damaged EXIF block does not make the pixels worse
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _to_rgb(image: Image.Image) -> NDArray[np.uint8]:
    if image.mode in _SIXTEEN_BIT_MODES or (image.mode == "I" and image.format == "PNG"):
        gray = np.asarray(image).astype(np.uint32)
        return np.repeat(((gray + 128) // 257).astype(np.uint8)[..., None], 3, axis=2)
    if image.mode in _ALPHA_MODES or "transparency" in image.info:
        with_alpha = image.convert("RGBA")
        page = Image.new("RGBA", image.size, "white")
        return np.asarray(Image.alpha_composite(page, with_alpha).convert("RGB"))
    if image.mode not in _OPAQUE_MODES:
        raise ImageError("image.pixel_type", image.mode)
    return np.asarray(image.convert("RGB"))


def _upright(rgb: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """Undo an EXIF orientation: bit by bit, mirrored or turned."""
    if orientation >= 5:
        rgb = rgb.transpose(1, 0, 2)
    if orientation in (2, 3, 6, 7):
        rgb = rgb[:, ::-1]
    if orientation in (3, 4, 7, 8):
        rgb = rgb[::-1]
    return rgb
