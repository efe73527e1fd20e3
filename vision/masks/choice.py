"""Whether masks are made by numpy or by the compiled kernels: both give the same bytes.

The kernels are about ten times faster, but cost a second and 125 MB to load, and some seconds more
where they have never been compiled. So a process begins with numpy and changes over for good once
that is worth it.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

MASKS_WORTH_LOADING = 8_000
"""From so many masks, rasterised or written, in one process on the kernels are worth their cost."""

_MAX_SIDE_PX = 65_535  # kernels keep a number for each row and column

Maker = Literal["numpy", "kernels"]

_log = logging.getLogger(__name__)


class _Choice:
    """What this process has decided."""

    def __init__(self) -> None:
        self.masks = 0
        self.maker: Maker | None = None

    def settle(self) -> None:
        """Change over to the kernels, if they can be had."""
        try:
            import vision.masks.kernels  # noqa: F401
        except ImportError as error:
            _log.warning("masks are made without the compiled kernels: %s", error)
            self.maker = "numpy"
        else:
            self.maker = "kernels"


_choice = _Choice()


def expect_masks(count: int) -> None:
    """Announce that this process is about to rasterise or write `count` masks."""
    if _choice.maker is None and _choice.masks + count >= MASKS_WORTH_LOADING:
        _choice.settle()


def count_mask(height: int, width: int) -> bool:
    """Count a mask to be rasterised or written, and tell whether the kernels should do it."""
    if _choice.maker is None:
        _choice.masks += 1
        expect_masks(0)
    return kernels_fit(height, width)


def kernels_fit(height: int, width: int) -> bool:
    """Whether the kernels are loaded and take a mask of this size, in pixels."""
    return _choice.maker == "kernels" and max(height, width) <= _MAX_SIDE_PX


def kernels_loaded() -> bool:
    """Whether the kernels are in use."""
    return _choice.maker == "kernels"


@contextmanager
def masks_made_by(maker: Maker) -> Iterator[None]:
    """Prescribe who makes the masks, in all threads.

    Raises:
        ImportError: The kernels cannot be loaded.
    """
    if maker == "kernels":
        import vision.masks.kernels  # noqa: F401
    before, _choice.maker = _choice.maker, maker
    try:
        yield
    finally:
        _choice.maker = before
