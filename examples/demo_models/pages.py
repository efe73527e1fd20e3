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


@dataclass(frozen=True)
class Sample:
    """One page squashed to a square, as SAM 2 sees it.

    Attributes:
        image: uint8, shape (3, size, size), RGB.
        ids: int16, shape (3, size, size): object id per level, 0 none, -1 a crowd to ignore.
    """

    image: torch.Tensor
    ids: torch.Tensor


def sample_from_page(page: Page, size_px: int, flip: bool = False) -> Sample:
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
    if flip:
        image, square = image[:, ::-1], square[:, :, ::-1]
    return Sample(
        torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))),
        torch.from_numpy(np.ascontiguousarray(square)),
    )


class PageStream(IterableDataset[tuple[torch.Tensor, torch.Tensor]]):
    """An endless stream of new pages; worker `w` of `n` draws seeds w, w + n, w + 2n, ..."""

    def __init__(self, size_px: int, first_seed: int) -> None:
        self.size_px = size_px
        self.first_seed = first_seed

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        worker = get_worker_info()
        index, step = (worker.id, worker.num_workers) if worker else (0, 1)
        seed = self.first_seed + index
        cv2.setNumThreads(0)
        while True:
            if seed >= FIRST_HELD_OUT_SEED:
                raise ValueError(f"training seeds end below {FIRST_HELD_OUT_SEED}, got {seed}")
            page = generate_page(seed, max(self.size_px, SMALLEST_DRAWN_PX))
            sample = sample_from_page(page, self.size_px, flip=seed % 2 == 1)
            yield sample.image, sample.ids
            seed += step
