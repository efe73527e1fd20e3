"""Run lengths to the zlib stream of a PNG's rows, without making the rows.

A byte of a row that differs from the byte above is written, all others are copied from the row
above. Where a mask has few edges that is next to nothing, however many pixels it has.
`vision.masks.kernels.row_stream` makes the same bytes compiled.
"""

import numpy as np
from numpy.typing import NDArray

from vision.masks.deflate_code import (
    COPY_BYTE,
    COPY_ROW,
    LITERAL,
    MAX_COPY,
    MIN_COPY,
    TOKEN_BITS_SHIFT,
    Tokens,
    mask_code,
)
from vision.masks.runs import Runs

_PACKED_AT_ONCE = 65_536  # tokens: each bit takes 24 bytes for a moment
_ADLER_MODULUS = 65_521
_PIXEL_BITS = np.array([128 >> n for n in range(8)], dtype=np.uint8)
_MAX_LITERAL_RUN = 3  # longer runs of one byte are a literal and a copy

Bytes = NDArray[np.uint8]


def row_stride(width: int, bit_depth: int) -> int:
    """Bytes of a PNG row: the filter and the pixels."""
    return 1 + (width * bit_depth + 7) // 8


def runs_to_zlib(runs: Runs, height: int, width: int, bit_depth: int) -> bytes:
    """Compress the unfiltered rows of a mask.

    Args:
        runs: Run lengths in pixels, int64, that add up to height * width.
        height: Height of the mask, in pixels.
        width: Width of the mask, in pixels.
        bit_depth: 1, or 8 for rows of 0 and 255.

    Returns:
        A zlib stream.

    Raises:
        ValueError: The rows are longer than `MAX_STRIDE`.
    """
    stride = row_stride(width, bit_depth)
    code = mask_code(stride)
    places, flips = _changed_bytes(runs, height, width, bit_depth)
    places, flips = _with_uncopied_bytes(places, flips, stride, stride * height)
    values, is_blank_below = _byte_values(places, flips, stride)
    segments = _segments(places, values, is_blank_below, stride * height)
    tokens = np.concatenate((code.head, _tokens(*segments, code.table), code.tail))
    checksum = _adler32(places, flips, values, stride, height)
    return _pack(tokens) + checksum.to_bytes(4, "big")


def _changed_bytes(runs: Runs, height: int, width: int, bit_depth: int) -> tuple[Runs, Bytes]:
    """Places in the rows of the bytes that differ from the byte above, and the bits that differ."""
    changes = runs[:-1].cumsum()
    changes = changes[changes < height * width]
    columns = changes // height
    rows = changes - columns * height
    # A column that begins inside a run differs from the blank row above the mask.
    inside = np.bincount(columns, minlength=width).cumsum()[:-1] & 1
    carried = inside.nonzero()[0] + 1
    if len(carried):
        columns = np.concatenate((columns, carried))
        rows = np.concatenate((rows, np.zeros(len(carried), dtype=np.int64)))
    if bit_depth == 1:
        cells, bits = columns >> 3, _PIXEL_BITS[columns & 7]
    else:
        cells, bits = columns, np.full(len(columns), 255, dtype=np.uint8)
    places = rows * row_stride(width, bit_depth) + cells
    order = places.argsort()
    places = places[order] + 1
    firsts = _starts(places)
    if len(firsts) == 0:
        return places, bits
    flips = np.bitwise_xor.reduceat(bits[order], firsts)
    places = places[firsts]
    changed = flips != 0
    return places[changed], flips[changed]


def _starts(values: Runs) -> NDArray[np.intp]:
    """Indices at which runs of equal values begin."""
    new = np.ones(len(values), dtype=bool)
    np.not_equal(values[1:], values[:-1], out=new[1:])
    return new.nonzero()[0]


def _with_uncopied_bytes(places: Runs, flips: Bytes, stride: int, size: int) -> tuple[Runs, Bytes]:
    """Add the unchanged bytes that are written too: the first ones, and gaps too short to copy."""
    in_first_row = int(places.searchsorted(stride))
    # A copy from the row above needs one: a first row that is not blank is written out.
    first_flips = np.zeros(stride if in_first_row else 1, dtype=np.uint8)
    first_flips[places[:in_first_row]] = flips[:in_first_row]
    places = np.concatenate((np.arange(len(first_flips)), places[in_first_row:], [size]))
    flips = np.concatenate((first_flips, flips[in_first_row:]))
    steps = places[1:] - places[:-1]
    counts = np.where(steps <= MIN_COPY, steps, 1)
    starts = counts.cumsum() - counts
    places = (places[:-1] - starts).repeat(counts)
    places += np.arange(len(places))
    written = np.zeros(len(places), dtype=np.uint8)
    written[starts] = flips
    return places, written


def _byte_values(places: Runs, flips: Bytes, stride: int) -> tuple[Bytes, bool]:
    """Values of the bytes at the places, and whether the rows below them are blank."""
    cells = places % stride
    downwards = cells.astype(np.uint16).argsort(kind="stable")  # numpy's radix sort
    above = np.bitwise_xor.accumulate(flips[downwards])
    firsts = _starts(cells[downwards])
    # What the cells to the left have accumulated is no part of this one.
    left = np.zeros(len(firsts) + 1, dtype=np.uint8)
    left[1:-1] = above[firsts[1:] - 1]
    left[-1] = above[-1]
    counts = np.empty(len(firsts), dtype=np.int64)
    counts[:-1] = firsts[1:] - firsts[:-1]
    counts[-1] = len(cells) - firsts[-1]
    values = np.empty(len(places), dtype=np.uint8)
    values[downwards] = above ^ left[:-1].repeat(counts)
    return values, not (left[1:] != left[:-1]).any()


def _segments(
    places: Runs, values: Bytes, is_blank_below: bool, size: int
) -> tuple[Bytes, Runs, Runs]:
    """Split the rows into runs of one byte, each followed by a copy of the row above.

    Returns:
        Value and length of each run, and length of each copy.
    """
    new = np.ones(len(places), dtype=bool)
    new[1:] = (places[1:] - places[:-1] != 1) | (values[1:] != values[:-1])
    heads = new.nonzero()[0]
    runs = np.concatenate((heads[1:], [len(places)])) - heads
    starts = places[heads]
    copies = np.concatenate((starts[1:], [size])) - starts - runs
    # In blank rows, the byte before is the shorter copy.
    for blank in [0, -1] if is_blank_below else [0]:
        runs[blank] += copies[blank]
        copies[blank] = 0
    return values[heads], runs, copies


def _tokens(values: Bytes, runs: Runs, copies: Runs, table: Tokens) -> Tokens:
    """Tokens of literals, copies of the byte before and copies of the row above, in turns."""
    is_long = runs > _MAX_LITERAL_RUN
    counts = np.empty((len(runs), 3), dtype=np.int64)
    most = np.empty(counts.shape, dtype=np.uint64)
    counts[:, 0] = np.where(is_long, 1, runs)
    most[:, 0] = table[LITERAL, values]
    lasts = []
    for kind, lengths in ((COPY_BYTE, (runs - 1) * is_long), (COPY_ROW, copies)):
        # A last copy is of 1 to 258 bytes; of none where there is no copy.
        counts[:, kind] = (lengths + MAX_COPY - 1) // MAX_COPY
        lasts.append(lengths - (counts[:, kind] - 1) * MAX_COPY)
        most[:, kind] = table[kind, MAX_COPY]
    ends = counts.ravel().cumsum().reshape(counts.shape) - 1
    tokens: Tokens = most.ravel().repeat(counts.ravel())
    for kind, last in zip((COPY_BYTE, COPY_ROW), lasts, strict=True):
        end = ends[:, kind]
        partial = (last < MAX_COPY).nonzero()[0]
        tokens[end[partial]] = table[kind, last[partial]]
        # The last copy takes from the one before what it lacks.
        short = partial[last[partial] < MIN_COPY]
        if len(short):
            tokens[end[short]] = table[kind, MIN_COPY]
            tokens[end[short] - 1] = table[kind, MAX_COPY - MIN_COPY + last[short]]
    return tokens


def _pack(tokens: Tokens) -> bytes:
    blocks = range(0, len(tokens), _PACKED_AT_ONCE)
    bits = np.concatenate([_bits(tokens[i : i + _PACKED_AT_ONCE]) for i in blocks])
    return np.packbits(bits, bitorder="little").tobytes()


def _bits(tokens: Tokens) -> Bytes:
    widths = (tokens >> np.uint64(TOKEN_BITS_SHIFT)).view(np.int64)
    ends = widths.cumsum()
    shifts = np.arange(ends[-1]) - (ends - widths).repeat(widths)
    bits = tokens.repeat(widths) >> shifts.view(np.uint64) & np.uint64(1)
    return bits.astype(np.uint8)


def _adler32(places: Runs, flips: Bytes, values: Bytes, stride: int, height: int) -> int:
    """The checksum of the rows, from the bytes that differ from those above."""
    size = stride * height
    step = values.astype(np.int64) - (values ^ flips)
    rows = height - places // stride  # that the step lasts
    weight = rows * (size - places) - stride * (rows * (rows - 1) // 2)
    low = (1 + int(step @ rows)) % _ADLER_MODULUS
    high = (size + int(step @ (weight % _ADLER_MODULUS))) % _ADLER_MODULUS
    return high << 16 | low
