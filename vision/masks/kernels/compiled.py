"""How the kernels are compiled: at their first call, without the GIL, and kept on disk."""

from collections.abc import Callable
from typing import ParamSpec, TypeVar

import numba

P = ParamSpec("P")
R = TypeVar("R")


def compiled(function: Callable[P, R]) -> Callable[P, R]:
    """Compile a kernel.

    A module with a kernel holds everything the kernel calls: numba looks for changes in the
    kernel's own file only, and would run an old copy of what another one holds.
    """
    try:
        kernel: Callable[P, R] = numba.njit(nogil=True, cache=True)(function)
    except RuntimeError:  # neither the package's folder nor the user's cache can be written
        kernel = numba.njit(nogil=True)(function)
    return kernel
