"""Generated pages as training samples: an image and three maps of object ids.

A click on a page can mean the text line, the bubble or character around it, or the whole panel:
the subpart, part and whole of SAM's three masks. One id map a level says, for every pixel, which
object of that level it belongs to.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import IterableDataset, get_worker_info

from examples.comics import Page, generate_page

LEVELS: tuple[tuple[str, ...], ...] = (("text",), ("bubble", "character"), ("panel",))
"""Categories of each mask slot, finest first."""

FIRST_HELD_OUT_SEED = 900_000_000
"""Seeds from here on are never trained on."""

IGNORED = -1
SMALLEST_DRAWN_PX = 256
"""Smaller samples are drawn at this size and shrunk, so that lines and letters stay whole."""

SHUFFLED_PAGES = 96
"""Pages that wait to be shown again."""


@dataclass(frozen=True)
class Sample:
    """One page squashed to a square, as SAM 2 sees it.

    Attributes:
        image: uint8, shape (3, size, size), RGB.
        ids: int16, shape (3, size, size): object id per level, 0 none, -1 a crowd to ignore.
    """

    image: torch.Tensor
    ids: torch.Tensor


def sample_from_page(page: Page, size_px: int) -> Sample:
    """Squash a page to `size_px` square and draw its objects into id maps, smallest on top."""
    height, width = page.image.shape[:2]
    ids = np.zeros((len(LEVELS), height, width), np.int16)
    ordered = sorted(enumerate(page.objects, 1), key=lambda pair: -int(pair[1].mask.sum()))
    for index, page_object in ordered:
        for level, categories in enumerate(LEVELS):
            if page_object.category in categories:
                ids[level][page_object.mask] = IGNORED if page_object.iscrowd else index
    size = (size_px, size_px)
    image = cv2.resize(page.image, size, interpolation=cv2.INTER_AREA)
    maps = [cv2.resize(level, size, interpolation=cv2.INTER_NEAREST) for level in ids]
    square: NDArray[np.int16] = np.stack(maps)
    return Sample(
        torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))),
        torch.from_numpy(square),
    )


class PageStream(IterableDataset[tuple[torch.Tensor, torch.Tensor]]):
    """An endless stream of pages, each shown `repeats` times, some mirrored, in random order.

    Args:
        size_px: side of the square samples.
        seeds: of the pages, in steps of the number of processes that draw pages, so that no two
            processes draw the same one.
        repeats: how often a page is shown; drawing a small page takes longer than learning from it.
    """

    def __init__(self, size_px: int, seeds: range, repeats: int = 1) -> None:
        self.size_px = size_px
        self.seeds = seeds
        self.repeats = repeats

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        worker = get_worker_info()
        seeds = self.seeds[worker.id :: worker.num_workers] if worker else self.seeds
        cv2.setNumThreads(0)
        random = np.random.default_rng(seeds.start)
        waiting: list[Sample] = []
        for seed in seeds:
            page = generate_page(seed, max(self.size_px, SMALLEST_DRAWN_PX))
            waiting += [sample_from_page(page, self.size_px)] * self.repeats
            while len(waiting) > (SHUFFLED_PAGES if self.repeats > 1 else 0):
                sample = waiting.pop(int(random.integers(len(waiting))))
                axes = [-1] if random.random() < 0.5 else []
                yield sample.image.flip(axes), sample.ids.flip(axes)
