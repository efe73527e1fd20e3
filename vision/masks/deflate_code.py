"""The one Huffman code in which all mask PNGs are compressed.

Rows of a mask repeat the row above but for a few bytes, so its deflate stream
(https://www.rfc-editor.org/rfc/rfc1951) needs only literals and copies from two distances: the
byte before and the row above. The code below is fitted to such streams. It halves the bytes of
deflate's built-in one and, being the same for every mask, costs no time to find; with it the PNG of
a mask does not depend on the version of a compression library.

A token is a uint64: the bits to write, the first of them lowest, and from bit 56 on their number.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

MAX_STRIDE = 32_768
"""Longest row that a deflate stream can copy from the row above, in bytes."""

LITERAL, COPY_BYTE, COPY_ROW = 0, 1, 2
"""Rows of the token table; the two copies are indexed by their length, 3 to 258."""

MIN_COPY, MAX_COPY = 3, 258
TOKEN_BITS_SHIFT = 56

Tokens = NDArray[np.uint64]

_END_OF_BLOCK = 256
# Bytes at the left or right edge of a run, and those inside and outside.
_EDGES = [0, *((1 << n) - 1 for n in range(1, 8)), *(256 - (1 << n) for n in range(8))]
_EDGE_BITS = {0: 5, 255: 5}
_COPY_BITS = [8, 8, 8, 8, 9, 9, 9, 9, 8, 8, 9, 9, 8, 8, 7, 7, 8, 7, 7, 6, 5, 7, 7, 7, 6, 7, 7, 7, 1]
_LENGTH_EXTRA_BITS = [*[0] * 4, *(bits for bits in range(6) for _ in range(4)), 0]
_SYMBOL_BITS = [
    *(_EDGE_BITS.get(byte, 6) if byte in _EDGES else 13 for byte in range(256)),
    9,
    *_COPY_BITS,
]
# The code in which deflate writes the number of bits of each symbol above.
_REPEAT = 16
_REPEAT_ZERO = 18
_HEADER_ORDER = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15]
_HEADER_BITS = {0: 6, 1: 4, 5: 5, 6: 3, 7: 3, 8: 4, 9: 4, 13: 2, 16: 2, 18: 6}


class MaskCode(NamedTuple):
    """What it takes to write the deflate stream of one row length.

    Attributes:
        table: Tokens of shape (3, 259); see `LITERAL`.
        head: Tokens of the zlib header and the code itself.
        tail: The token that ends the stream.
    """

    table: Tokens
    head: Tokens
    tail: Tokens


@lru_cache(maxsize=256)
def mask_code(stride: int) -> MaskCode:
    """The tokens for rows of `stride` bytes, from 2 to `MAX_STRIDE`."""
    codes = _huffman_codes(dict(enumerate(_SYMBOL_BITS)))
    distance, extra, extra_bits = _distance_symbol(stride)
    table = np.zeros((3, MAX_COPY + 1), dtype=np.uint64)
    for byte in range(256):
        table[LITERAL, byte] = _token(codes[byte])
    for length in range(MIN_COPY, MAX_COPY + 1):
        symbol, *rest = _length_symbol(length)
        copy = (codes[symbol], (rest[0], rest[1]))
        table[COPY_BYTE, length] = _token(*copy, (0, 1))
        table[COPY_ROW, length] = _token(*copy, (1, 1), (extra, extra_bits))
    head = np.array([_token(part) for part in _head(distance)], dtype=np.uint64)
    tail = np.array([_token(codes[_END_OF_BLOCK])], dtype=np.uint64)
    return MaskCode(table, head, tail)


def _token(*parts: tuple[int, int]) -> int:
    """Join (value, number of bits) pairs, the first of them lowest."""
    value = bits = 0
    for part, width in parts:
        value |= part << bits
        bits += width
    return value | bits << TOKEN_BITS_SHIFT


def _huffman_codes(bits: dict[int, int]) -> dict[int, tuple[int, int]]:
    """Canonical codes as (code with its first bit lowest, number of bits) by symbol."""
    codes = {}
    code = previous = 0
    for symbol in sorted(bits, key=lambda symbol: (bits[symbol], symbol)):
        width = bits[symbol]
        code <<= width - previous
        codes[symbol] = (int(f"{code:0{width}b}"[::-1], 2), width)
        code, previous = code + 1, width
    return codes


def _length_symbol(length: int) -> tuple[int, int, int]:
    """Symbol of a copy's length, and the value and number of its extra bits."""
    if length == MAX_COPY:
        return 285, 0, 0
    start = MIN_COPY
    for index, extra_bits in enumerate(_LENGTH_EXTRA_BITS):
        if length < start + (1 << extra_bits):
            return 257 + index, length - start, extra_bits
        start += 1 << extra_bits
    raise ValueError(f"copies have 3 to 258 bytes, got {length}")


def _distance_symbol(distance: int) -> tuple[int, int, int]:
    """Symbol of a distance from 2 on, and the value and number of its extra bits."""
    if not 2 <= distance <= MAX_STRIDE:
        raise ValueError(f"rows have 2 to {MAX_STRIDE} bytes, got {distance}")
    extra_bits = max(0, (distance - 1).bit_length() - 2)
    value = distance - 1
    return 2 * extra_bits + (value >> extra_bits), value & ((1 << extra_bits) - 1), extra_bits


def _head(distance: int) -> list[tuple[int, int]]:
    """The zlib header and the head of the only block, as (value, number of bits)."""
    zlib_header = [(0x78, 8), (0x01, 8)]
    last_block, own_code = (1, 1), (2, 2)
    counts = [(len(_SYMBOL_BITS) - 257, 5), (distance, 5), (len(_HEADER_ORDER) - 4, 4)]
    header_code = [(_HEADER_BITS.get(symbol, 0), 3) for symbol in _HEADER_ORDER]
    codes = _huffman_codes(_HEADER_BITS)
    code = []
    distances = [1, *[0] * (distance - 1), 1]
    for symbol, extra, extra_bits in _run_lengths([*_SYMBOL_BITS, *distances]):
        code += [codes[symbol], (extra, extra_bits)]
    return [*zlib_header, last_block, own_code, *counts, *header_code, *code]


def _run_lengths(values: list[int]) -> list[tuple[int, int, int]]:
    """Deflate's form of a list of code lengths: symbol, value and number of its extra bits."""
    out = []
    place = 0
    while place < len(values):
        value = values[place]
        run = 1
        while place + run < len(values) and values[place + run] == value:
            run += 1
        place += run
        if value == 0:
            if run >= 11:
                out.append((_REPEAT_ZERO, run - 11, 7))
                continue
            out += [(0, 0, 0)] * run
            continue
        out.append((value, 0, 0))
        run -= 1
        while run >= 3:
            take = min(6, run)
            out.append((_REPEAT, take - 3, 2))
            run -= take
        out += [(value, 0, 0)] * run
    return out
