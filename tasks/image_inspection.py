"""Decode untrusted images in child processes, where a crash, a hang or a bomb costs one image.

Image decoders are C code that reads bytes of strangers. A child has a limit of memory and of time
for each image; what breaks it is set aside by name, and a new child takes over.
"""

import resource
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import TimeoutError
from dataclasses import dataclass
from functools import cache
from multiprocessing import get_context
from multiprocessing.util import Finalize

from pebble import ProcessExpired, ProcessFuture, ProcessPool

from vision.images import ImageError, decode_image, perceptual_hash

WORKERS = 2
DEFAULT_SECONDS = 60.0
"""Longest time to decode one image."""

_BASE_BYTES = 2 * 2**30  # of the interpreter, its libraries, and the file itself
_BYTES_PER_PX = 16  # the decoder's own pixels, RGBA of it, the page below, and RGB
# What goes to a child at once.
_HANDFUL, _HANDFUL_BYTES = 8, 2**20

Named = tuple[str, bytes]


@dataclass(frozen=True)
class ImageFacts:
    """What an image that could be decoded is; sizes are after EXIF orientation."""

    width_px: int
    height_px: int
    format: str
    exif_orientation: int
    perceptual_hash: str


@dataclass(frozen=True)
class ImageFailure:
    """Why an image could not be decoded: a rule of `vision.coco.RULES`, and the value found."""

    rule: str
    value: str


Inspected = tuple[str, bytes, ImageFacts | ImageFailure]
"""Name and bytes of an image file, and what was found."""

Inspection = ProcessFuture[list[ImageFacts | ImageFailure]]


def inspect_images(
    files: Iterable[Named], max_px: int, seconds: float = DEFAULT_SECONDS
) -> Iterator[Inspected]:
    """Decode image files, some at once, and tell what each one is; in the order given.

    Args:
        files: Name and bytes of each file; read as they are needed.
        max_px: Largest width * height.
        seconds: Longest time for one image.

    Yields:
        Name, bytes, and what was found.
    """
    waiting: deque[tuple[Sequence[Named], Inspection]] = deque()
    for some in _handfuls(files):
        waiting.append((some, _schedule(some, max_px, seconds)))
        if len(waiting) > 2 * WORKERS:
            yield from _results(*waiting.popleft(), max_px, seconds)
    for some, future in waiting:
        yield from _results(some, future, max_px, seconds)


def _handfuls(files: Iterable[Named]) -> Iterator[Sequence[Named]]:
    """Small images by the handful: the way to a child and back can take longer than decoding."""
    some: list[Named] = []
    for name, data in files:
        if some and sum(len(other) for _, other in some) + len(data) > _HANDFUL_BYTES:
            yield some
            some = []
        some.append((name, data))
        if len(some) == _HANDFUL:
            yield some
            some = []
    if some:
        yield some


def _schedule(some: Sequence[Named], max_px: int, seconds: float) -> Inspection:
    data = [data for _, data in some]
    return _pool().schedule(_inspect_in_child, args=(data, max_px), timeout=seconds)


def image_failure(error: ImageError) -> ImageFailure:
    """Why an image could not be decoded, in words that survive a way between processes."""
    # A decoder's exception is told by its words; shown like other values it would hide them.
    value = error.value if isinstance(error.value, str | Exception) else repr(error.value)
    return ImageFailure(error.rule, str(value))


def _results(
    some: Sequence[Named], future: Inspection, max_px: int, seconds: float
) -> Iterator[Inspected]:
    found: Sequence[ImageFacts | ImageFailure]
    try:
        found = future.result()
    except (TimeoutError, ProcessExpired) as error:
        if len(some) > 1:
            # One of them is to blame: each alone, to find out which.
            for one in some:
                yield from _results([one], _schedule([one], max_px, seconds), max_px, seconds)
            return
        found = [_failure(error, seconds)]
    for (name, data), facts in zip(some, found, strict=True):
        yield name, data, facts


def _failure(error: TimeoutError | ProcessExpired, seconds: float) -> ImageFailure:
    if isinstance(error, ProcessExpired):
        return ImageFailure("image.decoder_died", f"exit code {error.exitcode}")
    return ImageFailure("image.too_slow", f"more than {seconds:g} s")


def _inspect(data: bytes, max_px: int) -> ImageFacts | ImageFailure:
    # Nothing is raised: an exception of our own would not survive the way back.
    try:
        image = decode_image(data, max_px)
        looks = perceptual_hash(image.rgb)
    except ImageError as error:
        return image_failure(error)
    except MemoryError:
        return ImageFailure("image.too_large", "more memory than an image may take")
    return ImageFacts(image.width_px, image.height_px, image.format, image.exif_orientation, looks)


def _inspect_in_child(files: Sequence[bytes], max_px: int) -> list[ImageFacts | ImageFailure]:
    _limit_memory(_BASE_BYTES + sum(map(len, files)) + _BYTES_PER_PX * max_px)
    return [_inspect(data, max_px) for data in files]


def _limit_memory(limit_bytes: int) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    soft = limit_bytes if hard == resource.RLIM_INFINITY else min(limit_bytes, hard)
    try:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
    except (ValueError, OSError):
        return  # macOS knows no such limit; the limit of time remains


@cache
def _pool() -> ProcessPool:
    """The children, started once: a fork of a process with threads could hang, so they spawn."""
    pool = ProcessPool(max_workers=WORKERS, context=get_context("spawn"))

    def stop() -> None:
        pool.stop()  # type: ignore[no-untyped-call]
        pool.join()

    # Unlike atexit, this is also called in a process that multiprocessing started.
    Finalize(None, stop, exitpriority=100)
    return pool
