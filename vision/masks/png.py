"""Mask PNGs: one-bit gray by default, which OpenCV reads as 0/255 and Pillow as mode `1`.

The writer is our own because a mask needs only four chunks: it is several times faster than an
8-bit image through an image library, and the bytes do not depend on that library's version.
"""

import reprlib
import struct
import zlib
from io import BytesIO
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vision.masks.rle import rle_to_mask
from vision.masks.runs import MAX_MASK_PX, check_mask_size

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_GRAY = 0

BitDepth = Literal[1, 8]


class MaskPngError(ValueError):
    """Bytes that are not a gray mask PNG.

    Attributes:
        rule: The broken rule, such as `mask_png.mode`.
        value: The offending part of the input.
    """

    def __init__(self, rule: str, value: object) -> None:
        self.rule = rule
        self.value = value
        super().__init__(f"{rule}: {reprlib.repr(value)}")


def mask_to_png(mask: NDArray[Any], bit_depth: BitDepth = 1) -> bytes:
    """Write a mask as a gray PNG.

    Args:
        mask: Array of shape (height, width); any non-zero value is foreground.
        bit_depth: 1, or 8 for readers that need mode `L` (0 and 255).

    Returns:
        The PNG file.

    Raises:
        ValueError: The bit depth is neither 1 nor 8, or the array is not two-dimensional.
        RleError: A side is 0 or the mask is too large.
    """
    if bit_depth not in (1, 8):
        raise ValueError(f"bit_depth must be 1 or 8, got {bit_depth!r}")
    if mask.ndim != 2:
        raise ValueError(f"a mask has shape (height, width), got {mask.shape}")
    height, width = mask.shape
    check_mask_size(height, width)
    binary = mask != 0
    pixels = np.packbits(binary, axis=1) if bit_depth == 1 else binary.astype(np.uint8) * 255
    unfiltered = np.zeros((height, 1), dtype=np.uint8)
    header = struct.pack(">IIBBBBB", width, height, bit_depth, _GRAY, 0, 0, 0)
    rows = np.hstack([unfiltered, pixels]).tobytes()
    return (
        _SIGNATURE
        + _chunk(b"IHDR", header)
        + _chunk(b"IDAT", zlib.compress(rows))
        + _chunk(b"IEND", b"")
    )


def rle_to_png(counts: bytes | str, height: int, width: int, bit_depth: BitDepth = 1) -> bytes:
    """Write compressed COCO counts as a gray PNG; see `mask_to_png`.

    Raises:
        RleError: The counts do not describe exactly h*w pixels.
    """
    return mask_to_png(rle_to_mask(counts, height, width), bit_depth)


def png_to_mask(data: bytes) -> NDArray[np.bool_]:
    """Read a gray mask PNG of 1 or 8 bits.

    Returns:
        Boolean array of shape (height, width); every non-zero value is foreground.

    Raises:
        MaskPngError: The bytes are no intact PNG, too large, or not gray.
    """
    try:
        with Image.open(BytesIO(data), formats=("PNG",)) as image:
            if image.width * image.height > MAX_MASK_PX:
                raise MaskPngError("mask_png.too_large", image.size)
            if image.mode not in ("1", "L"):
                raise MaskPngError("mask_png.mode", image.mode)
            mask: NDArray[np.bool_] = np.asarray(image) != 0
            return mask
    except (MaskPngError, MemoryError):
        raise
    except Exception as error:  # damaged bytes make the decoder raise nearly anything
        raise MaskPngError("mask_png.corrupt", error) from error


def _chunk(kind: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)
