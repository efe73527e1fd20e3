"""Run lengths to the zlib stream of a PNG's rows; `vision.masks.row_stream` is it in numpy."""

import numpy as np
from numpy.typing import NDArray

from vision.masks.kernels.compiled import compiled

_LITERAL, _COPY_BYTE, _COPY_ROW = 0, 1, 2
_MIN_COPY, _MAX_COPY = 3, 258
_MAX_LITERAL_RUN = 3
_TOKEN_BITS_SHIFT = 56
_TOKEN_BITS = (1 << _TOKEN_BITS_SHIFT) - 1
_MAX_TOKEN_BYTES = 7
_PADDING = 7 << _TOKEN_BITS_SHIFT  # completes the last byte
_TABLE_SHAPE = (3, _MAX_COPY + 1)
_ADLER_MODULUS = 65_521

Integers = NDArray[np.int64]
Bytes = NDArray[np.uint8]
Tokens = NDArray[np.uint64]
Writer = tuple[np.int64, np.uint64, np.int64]
"""The next byte of the output, bits not yet written, and how many these are."""


@compiled
def _edges(runs: Integers, height: int, width: int) -> tuple[Integers, Integers]:
    """Rows and columns of the pixels that differ from the one above, column by column."""
    rows = np.empty(runs.size + width, dtype=np.int64)
    columns = np.empty(runs.size + width, dtype=np.int64)
    count = 0
    place = 0
    column, row = 0, 0  # of the place, at most one column past the last
    for i in range(runs.size):
        if i % 2 and runs[i]:
            rows[count], columns[count] = row, column
            count += 1
        place += runs[i]
        row += runs[i]
        if row >= height:
            skipped = row // height
            row -= skipped * height
            if i % 2:
                # A column that begins inside the run differs from the blank row above the mask.
                for inside in range(column + 1, column + skipped + (row > 0)):
                    rows[count], columns[count] = 0, inside
                    count += 1
            column += skipped
        if i % 2 and row > 0 and runs[i]:
            rows[count], columns[count] = row, column
            count += 1
    return rows[:count], columns[:count]


@compiled
def _changed_bytes(
    rows: Integers, columns: Integers, bit_depth: int, stride: int
) -> tuple[Integers, Bytes]:
    """Places in the rows of the bytes that differ from the byte above, and the bits that differ."""
    places = np.empty(rows.size, dtype=np.int64)
    flips = np.empty(rows.size, dtype=np.uint8)
    if rows.size == 0:
        return places, flips
    # Edges come column by column: once sorted by row, those of a row go from left to right.
    top = rows.min()
    starts = np.zeros(rows.max() - top + 2, dtype=np.int64)
    for row in rows:
        starts[row - top + 1] += 1
    for i in range(1, starts.size):
        starts[i] += starts[i - 1]
    order = np.empty(rows.size, dtype=np.int64)
    for i in range(rows.size):
        order[starts[rows[i] - top]] = i
        starts[rows[i] - top] += 1
    count = 0
    for edge in order:
        column = columns[edge]
        place = rows[edge] * stride + 1 + (column if bit_depth == 8 else column >> 3)
        bits = np.uint8(255) if bit_depth == 8 else np.uint8(128 >> (column & 7))
        if count and places[count - 1] == place:
            flips[count - 1] ^= bits
            continue
        # Two edges of adjoining runs cancel out.
        if count and flips[count - 1] == 0:
            count -= 1
        places[count], flips[count] = place, bits
        count += 1
    if flips[count - 1] == 0:
        count -= 1
    return places[:count], flips[:count]


@compiled
def _put(out: Bytes, writer: Writer, token: np.uint64) -> Writer:
    """Write a token; what finds no room is dropped, and the place still moves on."""
    at, bits, held = writer
    bits |= (token & np.uint64(_TOKEN_BITS)) << np.uint64(held)
    held += np.int64(token >> np.uint64(_TOKEN_BITS_SHIFT))
    while held >= 8:
        if at < out.size:
            out[at] = np.uint8(bits & np.uint64(255))
        bits >>= np.uint64(8)
        at += 1
        held -= 8
    return at, bits, held


@compiled
def _put_copy(out: Bytes, writer: Writer, tokens: Tokens, length: int) -> Writer:
    """Write a copy of at least three bytes."""
    while length > 0:
        part = min(length, _MAX_COPY)
        if 0 < length - part < _MIN_COPY:
            part = length - _MIN_COPY
        writer = _put(out, writer, tokens[part])
        length -= part
    return writer


@compiled
def _put_run(out: Bytes, writer: Writer, table: Tokens, value: int, length: int) -> Writer:
    """Write a run of one byte."""
    literals = length if length <= _MAX_LITERAL_RUN else 1
    for _ in range(literals):
        writer = _put(out, writer, table[_LITERAL, value])
    return _put_copy(out, writer, table[_COPY_BYTE], length - literals)


@compiled
def compress_rows(
    runs: Integers,
    height: int,
    width: int,
    bit_depth: int,
    table: Tokens,
    head: Tokens,
    tail: Tokens,
) -> Bytes:
    """Compress the unfiltered rows of a mask.

    Args:
        runs: Run lengths in pixels.
        height: Height of the mask, in pixels.
        width: Width of the mask, in pixels.
        bit_depth: 1, or 8 for rows of 0 and 255.
        table: The tokens of this row length, from `mask_code`.
        head: Those that open the stream.
        tail: Those that end it.

    Returns:
        A zlib stream; empty if the runs are not those of a mask of this size.
    """
    nothing = np.empty(0, dtype=np.uint8)
    if runs.min() < 0 or runs.sum() != height * width or table.shape != _TABLE_SHAPE:
        return nothing
    stride = 1 + (width * bit_depth + 7) // 8
    rows, columns = _edges(runs, height, width)
    places, flips = _changed_bytes(rows, columns, bit_depth, stride)
    size = stride * height
    written = 3 * places.size + stride + 2  # bytes at most, each of two bytes at most
    copies = 2 * written + size // _MAX_COPY + 2  # of four bytes at most
    out = np.empty(
        _MAX_TOKEN_BYTES * (head.size + tail.size) + 2 * written + 4 * copies, dtype=np.uint8
    )
    writer = (np.int64(0), np.uint64(0), np.int64(0))
    for token in head:
        writer = _put(out, writer, token)

    above = np.zeros(stride, dtype=np.uint8)
    marked = 0  # bytes above that are not blank
    low, high = 1, size  # of the checksum
    value, length = 0, 1  # of the run not yet written; each row begins with a zero
    end = 1  # of that run
    for i in range(places.size + 1):
        place = int(places[i]) if i < places.size else size
        if i == 0 or (i == places.size and marked == 0):
            length += place - end  # blank rows
        else:
            # The first row has none above it, and copies have at least three bytes.
            copied_from = max(end, stride)
            if place - copied_from < _MIN_COPY:
                copied_from = place
            for between in range(end, copied_from):
                same = int(np.int64(above[between % stride]))
                if length and same != value:
                    writer = _put_run(out, writer, table, value, length)
                    length = 0
                value = same
                length += 1
            if copied_from < place:
                writer = _put_run(out, writer, table, value, length)
                writer = _put_copy(out, writer, table[_COPY_ROW], place - copied_from)
                length = 0
        if i == places.size:
            break

        row, cell = divmod(place, stride)
        old = int(np.int64(above[cell]))
        new = old ^ int(np.int64(flips[i]))
        above[cell] = new
        marked += (new != 0) - (old != 0)
        lasts = height - row
        weight = lasts * (size - place) - stride * (lasts * (lasts - 1) // 2)
        low += (new - old) * lasts
        high += (new - old) * (weight % _ADLER_MODULUS)
        if length and new != value:
            writer = _put_run(out, writer, table, value, length)
            length = 0
        value = new
        length += 1
        end = place + 1

    writer = _put_run(out, writer, table, value, length)
    for token in tail:
        writer = _put(out, writer, token)
    writer = _put(out, writer, np.uint64(_PADDING))
    count = writer[0]
    if count + 4 > out.size:
        return nothing
    checksum = (high % _ADLER_MODULUS) << 16 | low % _ADLER_MODULUS
    for i in range(4):
        out[count + i] = checksum >> (24 - 8 * i) & 255
    return out[: count + 4]
