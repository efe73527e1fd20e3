"""Work on many objects some at once, in their order, without holding more than fits in memory."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import cache
from typing import TypeVar

AT_ONCE = 16
"""Pieces of work that are under way at once: each mostly waits for the network or the disk."""

_MOST_BYTES = 64 * 2**20

T = TypeVar("T")
R = TypeVar("R")


def ahead(
    items: Iterable[T], work: Callable[[T], R], size_bytes: Callable[[T], int] = lambda _: 0
) -> Iterator[tuple[T, Future[R]]]:
    """Do a piece of work for each item in threads, and give the results in the order of the items.

    At most twice as many items as threads are under way or wait for the caller, and together 64 MiB
    of them, or a single one that is larger.

    Args:
        items: Taken as there is room.
        work: What to do; called in threads, which all callers share: it must not wait for others.
        size_bytes: What an item and its result hold in memory, about.

    Yields:
        Each item with its future, which is done: `result()` gives the result or raises.
    """
    waiting: deque[tuple[T, Future[R]]] = deque()
    held = 0
    try:
        for item in items:
            size = size_bytes(item)
            while waiting and (len(waiting) >= 2 * AT_ONCE or held + size > _MOST_BYTES):
                held -= size_bytes(waiting[0][0])
                yield _first_of(waiting)
            waiting.append((item, _threads().submit(work, item)))
            held += size
        while waiting:
            yield _first_of(waiting)
    finally:
        for _, future in waiting:
            future.cancel()
        # Nothing goes on behind the back of a caller that stopped.
        wait([future for _, future in waiting])


def _first_of(waiting: deque[tuple[T, Future[R]]]) -> tuple[T, Future[R]]:
    wait([waiting[0][1]])
    return waiting.popleft()


@cache
def _threads() -> ThreadPoolExecutor:
    """Started once: a thread takes longer to start than a small file to write."""
    return ThreadPoolExecutor(AT_ONCE, thread_name_prefix="segmill-ahead")
