"""Run lengths of masks: COCO's compressed text, checked before any C code sees a byte.

A mask of height h and width w is read column by column (top to bottom, then left to right). Its
run lengths alternate between zeros and ones, starting with zeros, and add up to h*w. The
compressed form writes each run (from the fourth on: its difference to the run two before) as
groups of five bits in printable characters, as pycocotools does:
https://github.com/ppwwyyxx/cocoapi/blob/master/common/maskApi.c

The canonical form has no run of length zero except possibly the first. Equal masks therefore have
equal bytes.
"""

import reprlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vision.masks.choice import kernels_loaded

MAX_MASK_PX = 500_000_000
"""Largest height * width accepted, in pixels."""

_MAX_GROUPS = 7  # 7 * 5 bits hold any difference of two 32-bit runs
_FIRST_CHARACTER = 48
_MAX_RUN = 2**32 - 1

Runs = NDArray[np.int64]


class RleError(ValueError):
    """A run-length encoding that does not describe a mask of the expected size.

    Attributes:
        rule: The broken rule, such as `rle.short`.
        value: The offending part of the input.
    """

    def __init__(self, rule: str, value: object) -> None:
        self.rule = rule
        self.value = value
        super().__init__(f"{rule}: {reprlib.repr(value)}")


def check_mask_size(height: int, width: int) -> None:
    """Refuse sizes that no mask can have.

    Raises:
        RleError: `rle.size` unless both are integers of at least 1, `rle.too_large` above
            `MAX_MASK_PX` pixels.
    """
    for side in (height, width):
        if isinstance(side, bool) or not isinstance(side, int | np.integer) or side < 1:
            raise RleError("rle.size", [height, width])
    if int(height) * int(width) > MAX_MASK_PX:
        raise RleError("rle.too_large", [height, width])


def canonical_rle(counts: bytes | str, height: int, width: int) -> bytes:
    """Check compressed counts and return them in canonical form.

    Raises:
        RleError: They do not describe exactly h*w pixels.
    """
    return runs_to_rle(canonical_runs(rle_to_runs(counts, height, width)))


def rle_to_runs(counts: bytes | str, height: int, width: int) -> Runs:
    """Decompress counts into run lengths, and check that they fill h*w pixels.

    Returns:
        Run lengths in pixels, int64, alternating zeros and ones, starting with zeros.

    Raises:
        RleError: They do not describe exactly h*w pixels.
    """
    check_mask_size(height, width)
    runs = decompress(counts, max_runs=height * width + 1)
    _check_runs(runs, height, width)
    return runs


def runs_to_rle(runs: Runs) -> bytes:
    """Compress run lengths.

    Args:
        runs: Run lengths in pixels, int64, each from 0 to 2**32 - 1.

    Returns:
        Compressed counts, ASCII.
    """
    if kernels_loaded():
        from vision.masks.kernels import compress

        return compress(runs).tobytes()
    values = runs.copy()
    values[3:] -= runs[1:-2]
    groups = np.ones(len(values), dtype=np.int64)
    for n in range(1, _MAX_GROUPS):
        bound = 1 << (5 * n - 1)
        groups += (values < -bound) | (values >= bound)
    starts = np.cumsum(groups) - groups
    text = np.empty(int(groups.sum()), dtype=np.uint8)
    for n in range(int(groups.max(initial=0))):
        present = groups > n
        more = (groups[present] > n + 1).astype(np.int64) << 5
        text[starts[present] + n] = ((values[present] >> (5 * n)) & 31 | more) + _FIRST_CHARACTER
    return text.tobytes()


def list_to_runs(counts: Sequence[Any], height: int, width: int) -> Runs:
    """Check a list of run lengths, as uncompressed RLE has it.

    Returns:
        Run lengths in pixels, int64.

    Raises:
        RleError: They are not integers of at least 0 that fill exactly h*w pixels.
    """
    if len(counts) > height * width + 1:
        raise RleError("rle.too_many_runs", len(counts))
    for kind in set(map(type, counts)):
        if kind is bool or not issubclass(kind, int | np.integer):
            raise RleError("rle.count_type", kind.__name__)
    if not counts:
        raise RleError("rle.empty", [])
    if (lowest := min(counts)) < 0:
        raise RleError("rle.negative", lowest)
    if (highest := max(counts)) > _MAX_RUN:
        raise RleError("rle.count_too_large", highest)
    runs = np.array(counts, dtype=np.int64)
    _check_runs(runs, height, width)
    return runs


def _check_runs(runs: Runs, height: int, width: int) -> None:
    total = int(runs.sum())
    if total != height * width:
        rule = "rle.short" if total < height * width else "rle.long"
        raise RleError(rule, f"{total} of {height * width} pixels")


def area_of_runs(runs: Runs) -> int:
    """Foreground area in pixels."""
    return int(runs[1::2].sum())


def box_of_runs(runs: Runs, height: int) -> tuple[int, int, int, int]:
    """Smallest box around the foreground.

    Args:
        runs: Run lengths in pixels, canonical.
        height: Height of the mask, in pixels.

    Returns:
        (x, y, width, height) in whole pixels; all 0 for an empty mask.
    """
    ends = np.cumsum(runs)
    first, last = ends[0:-1:2], ends[1::2] - 1
    if first.size == 0:
        return (0, 0, 0, 0)
    left, right = int(first[0]) // height, int(last[-1]) // height
    if (first // height != last // height).any():
        top, bottom = 0, height - 1
    else:
        top, bottom = int((first % height).min()), int((last % height).max())
    return (left, top, right - left + 1, bottom - top + 1)


def canonical_runs(runs: Runs) -> Runs:
    """Merge the neighbours of zero-length runs, so that equal masks have equal runs."""
    if runs[1:].all():
        return runs
    ends = np.cumsum(runs)
    return changes_to_runs(ends[:-1], int(ends[-1]))


def changes_to_runs(changes: Runs, total: int) -> Runs:
    """Run lengths of a mask given the places where its value flips.

    Args:
        changes: Positions in column-major order, int64, in any order; two at one place cancel out,
            and those at `total` are ignored.
        total: Pixels of the mask.
    """
    places, times = np.unique(changes, return_counts=True)
    places = places[(times % 2 == 1) & (places < total)]
    runs: Runs = np.diff(places, prepend=0, append=total)
    return runs


def union_of_runs(masks: Sequence[Runs], total: int) -> Runs:
    """Union of masks given as run lengths that each add up to `total` pixels.

    Returns:
        Run lengths of the union, canonical; of the empty mask if there are none.
    """
    if len(masks) == 1:
        return canonical_runs(masks[0])
    return _covered(masks, total, at_least=1)


def intersection_of_runs(masks: Sequence[Runs], total: int) -> Runs:
    """Intersection of masks given as run lengths that each add up to `total` pixels.

    Returns:
        Run lengths of the intersection, canonical; of the full mask if there are none.
    """
    if not masks:
        return np.array([0, total], dtype=np.int64)
    return _covered(masks, total, at_least=len(masks))


def _covered(masks: Sequence[Runs], total: int, at_least: int) -> Runs:
    """Run lengths of the pixels that so many of the masks cover."""
    ends = [np.cumsum(runs) for runs in masks]
    # Depth is how many masks cover a pixel: up at the end of each zero run, down after each one.
    up = np.concatenate([np.empty(0, np.int64), *(e[0::2] for e in ends)])
    down = np.concatenate([np.empty(0, np.int64), *(e[1::2] for e in ends)])
    places, index = np.unique(np.concatenate((up, down)), return_inverse=True)
    steps = np.bincount(index, np.repeat([1, -1], [len(up), len(down)]), len(places))
    covered = np.cumsum(steps) >= at_least
    flips = places[covered != np.concatenate(([False], covered[:-1]))]
    return changes_to_runs(flips, total)


def decompress(counts: bytes | str, max_runs: int) -> Runs:
    """Decompress counts into run lengths of a mask of unknown size.

    Raises:
        RleError: They are not compressed counts, or of more than `max_runs` runs.
    """
    if isinstance(counts, str):
        try:
            counts = counts.encode("ascii")
        except UnicodeEncodeError as error:
            raise RleError("rle.byte", counts[error.start]) from None
    if not counts:
        raise RleError("rle.empty", "")
    text = np.frombuffer(counts, dtype=np.uint8)
    if kernels_loaded():
        from vision.masks.kernels import decompress as decompress_quickly

        if (runs := decompress_quickly(text, max_runs)).size:
            return runs
    codes = text.astype(np.int64) - _FIRST_CHARACTER
    if np.any((codes < 0) | (codes > 63)):
        wrong = int(np.argmax((codes < 0) | (codes > 63)))
        raise RleError("rle.byte", counts[wrong : wrong + 1])
    last = np.flatnonzero(codes < 32)
    if codes[-1] >= 32:
        raise RleError("rle.unterminated", counts[-8:])
    if len(last) > max_runs:
        raise RleError("rle.too_many_runs", len(last))
    starts = np.concatenate(([0], last[:-1] + 1))
    lengths = last - starts + 1
    if lengths.max() > _MAX_GROUPS:
        raise RleError("rle.count_too_large", counts[int(starts[lengths.argmax()]) :][:16])
    shifts = 5 * (np.arange(len(codes)) - np.repeat(starts, lengths))
    values = np.add.reduceat((codes & 31) << shifts, starts)
    values -= np.where(codes[last] & 16, np.int64(1) << (5 * lengths), 0)
    values[1::2] = np.cumsum(values[1::2])
    values[2::2] = np.cumsum(values[2::2])
    if values.min() < 0:
        raise RleError("rle.negative", int(values.min()))
    if values.max() > _MAX_RUN:
        raise RleError("rle.count_too_large", int(values.max()))
    return values
