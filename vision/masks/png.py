"""Mask PNGs: one-bit gray by default, which OpenCV reads as 0/255 and Pillow as mode `1`.

The writer is our own because run lengths are close to what a PNG stores: no pixel is ever drawn.
The bytes depend on the mask alone, not on who made them or on the version of a library.
"""

import reprlib
import struct
import zlib
from functools import lru_cache
from io import BytesIO
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vision.masks.choice import count_mask
from vision.masks.deflate_code import MAX_STRIDE, mask_code
from vision.masks.rle import mask_to_runs, runs_to_mask
from vision.masks.row_stream import row_stride, runs_to_zlib
from vision.masks.runs import MAX_MASK_PX, Runs, canonical_runs, rle_to_runs

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_GRAY = 0
_MAX_RUNS = 1_000_000
_IDAT_CRC = zlib.crc32(b"IDAT")

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
    check_bit_depth(bit_depth)
    if mask.ndim != 2:
        raise ValueError(f"a mask has shape (height, width), got {mask.shape}")
    height, width = mask.shape
    return runs_to_png(mask_to_runs(mask), height, width, bit_depth)


def rle_to_png(counts: bytes | str, height: int, width: int, bit_depth: BitDepth = 1) -> bytes:
    """Write compressed COCO counts as a gray PNG; see `mask_to_png`.

    Raises:
        ValueError: The bit depth is neither 1 nor 8.
        RleError: The counts do not describe exactly h*w pixels.
    """
    check_bit_depth(bit_depth)
    return runs_to_png(rle_to_runs(counts, height, width), height, width, bit_depth)


def runs_to_png(runs: Runs, height: int, width: int, bit_depth: BitDepth = 1) -> bytes:
    """Write checked run lengths, as `rle_to_runs` returns them, as a gray PNG."""
    stream = _compressed_rows(runs, height, width, bit_depth)
    checksum = zlib.crc32(stream, _IDAT_CRC)
    start, end = _frame(height, width, bit_depth)
    return b"".join(
        (start, struct.pack(">I", len(stream)), b"IDAT", stream, struct.pack(">I", checksum), end)
    )


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


def check_bit_depth(bit_depth: int) -> None:
    """Refuse, with a ValueError, depths other than 1 and 8 bits."""
    if bit_depth not in (1, 8):
        raise ValueError(f"bit_depth must be 1 or 8, got {bit_depth!r}")


def _compressed_rows(runs: Runs, height: int, width: int, bit_depth: BitDepth) -> bytes:
    stride = row_stride(width, bit_depth)
    if len(runs) > _MAX_RUNS:
        runs = canonical_runs(runs)
    if stride > MAX_STRIDE or len(runs) > _MAX_RUNS:
        return _compressed_pixels(runs_to_mask(runs, height, width), bit_depth)
    if count_mask(height, width):
        from vision.masks.kernels import compress_rows

        code = mask_code(stride)
        stream = compress_rows(runs, height, width, bit_depth, code.table, code.head, code.tail)
        if stream.size:
            return stream.tobytes()
    return runs_to_zlib(runs, height, width, bit_depth)


def _compressed_pixels(mask: NDArray[np.bool_], bit_depth: BitDepth) -> bytes:
    """Compress a mask whose rows are too long to copy, or of so many runs that it is all noise."""
    pixels = np.packbits(mask, axis=1) if bit_depth == 1 else mask.astype(np.uint8) * 255
    unfiltered = np.zeros((len(mask), 1), dtype=np.uint8)
    return zlib.compress(np.hstack([unfiltered, pixels]).tobytes())


@lru_cache(maxsize=256)
def _frame(height: int, width: int, bit_depth: BitDepth) -> tuple[bytes, bytes]:
    """What a PNG has before and after its pixels."""
    header = struct.pack(">IIBBBBB", width, height, bit_depth, _GRAY, 0, 0, 0)
    return _SIGNATURE + _chunk(b"IHDR", header), _chunk(b"IEND", b"")


def _chunk(kind: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)
