"""Compressed counts to run lengths and back; `vision.masks.runs` is the same in numpy."""

import numpy as np
from numpy.typing import NDArray

from vision.masks.kernels.compiled import compiled

_FIRST_CHARACTER = 48
_MAX_GROUPS = 7
_MAX_RUN = 2**32 - 1


@compiled
def decompress(text: NDArray[np.uint8], max_runs: int) -> NDArray[np.int64]:
    """Decompress counts.

    Returns:
        Run lengths in pixels; empty if the text is damaged or has more than `max_runs`.
    """
    runs = np.empty(text.size, dtype=np.int64)
    count = groups = 0
    value = 0
    for character in text:
        code = int(np.int64(character)) - _FIRST_CHARACTER
        if code < 0 or code > 63 or groups == _MAX_GROUPS:
            return runs[:0]
        value |= (code & 31) << (5 * groups)
        groups += 1
        if code >= 32:
            continue
        if code & 16:
            value -= 1 << (5 * groups)
        if count >= 3:
            value += int(runs[count - 2])
        if value < 0 or value > _MAX_RUN or count == max_runs:
            return runs[:0]
        runs[count] = value
        count += 1
        value = groups = 0
    return runs[:0] if groups else runs[:count]


@compiled
def compress(runs: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Compress run lengths, each from 0 to 2**32 - 1; see `runs_to_rle`."""
    text = np.empty(_MAX_GROUPS * runs.size, dtype=np.uint8)
    count = 0
    for i in range(runs.size):
        value = runs[i] - runs[i - 2] if i >= 3 else runs[i]
        for _ in range(_MAX_GROUPS):
            code = value & 31
            value >>= 5
            is_last = value == (-1 if code & 16 else 0)
            text[count] = _FIRST_CHARACTER + (code if is_last else code | 32)
            count += 1
            if is_last:
                break
    return text[:count]
