"""Generated comic pages with exact masks of panels, bubbles, characters and text."""

from dataclasses import dataclass
from random import Random
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from examples.comics.annotations import figure_polygons, inside, polygons_to_mask
from examples.comics.artist import PageArtist
from examples.comics.brush import Points
from examples.comics.scan import Scan
from examples.comics.woodcut import LINE_WEIGHT, Woodcut

Category = Literal["panel", "bubble", "character", "text"]
CATEGORIES: tuple[Category, ...] = ("panel", "bubble", "character", "text")

ArtStyle = Literal["pen", "woodcut"]
ART_STYLES: tuple[ArtStyle, ...] = ("pen", "woodcut")


@dataclass(frozen=True)
class PageObject:
    """One annotated thing on a page.

    Attributes:
        category: what it is.
        mask: bool ``(h, w)``, its visible pixels; equal to the polygons as pycocotools draws them.
        polygons: COCO polygons ``[x0, y0, x1, y1, ...]`` in pixels, or None where the visible part
            has holes and only a run-length encoding of ``mask`` is exact.
        iscrowd: True for a group of characters annotated as one region.
    """

    category: Category
    mask: NDArray[np.bool_]
    polygons: list[list[float]] | None
    iscrowd: bool


@dataclass(frozen=True)
class Page:
    """A generated page.

    Attributes:
        image: uint8 ``(h, w, 3)`` RGB.
        objects: what is on it: panels first, then characters, bubbles and text.
    """

    image: NDArray[np.uint8]
    objects: list[PageObject]


def generate_page(seed: int, size_px: int = 512, style: ArtStyle = "pen") -> Page:
    """Draw the comic page of a seed.

    Args:
        seed: any integer; the same seed and size give the same page. Seeds from 900_000_000 on
            are kept for evaluation, training uses smaller ones.
        size_px: length of the longer side, at least 128 pixels.
        style: how it is drawn. The demo models know "pen"; "woodcut" has the same things in heavy
            lines and hatching, in one ink on tinted paper.

    Returns:
        The page; masks show what is visible, so a character behind a bubble ends at the bubble,
        while a panel keeps the area of what lies on it and a bubble that of its text.

    Raises:
        ValueError: ``size_px`` is below 128, or there is no such style.
    """
    if style not in ART_STYLES:
        raise ValueError(f"style must be one of {', '.join(ART_STYLES)}, got {style!r}")
    if size_px < 128:
        raise ValueError(f"size_px must be at least 128, got {size_px}")
    random = Random(f"comic page {seed}")
    width, height = _page_size(random, size_px)
    scale = size_px / 512
    artist = PageArtist(random, width, height, scale, 1.0 if style == "pen" else LINE_WEIGHT)
    artist.draw()
    drawn, paper = artist.image, artist.palette.paper
    if style == "woodcut":
        # colours of its own, so that what is drawn is as the seed has it
        block = Woodcut(Random(f"woodcut {seed}"), scale)
        drawn, paper = block.print(drawn, artist.figures, artist.panels), block.paper
    scan = Scan(random, width, height)
    image = scan.image(drawn, paper)
    figures = scan.labels(artist.figures)
    objects: list[PageObject] = []
    for panel in artist.panels:
        _add(objects, "panel", [scan.points(panel)], width, height, 64)
    boxes = _boxes(figures, len(artist.figure_is_crowd))
    for index, crowd in enumerate(artist.figure_is_crowd):
        visible = figures == index + 1 if boxes[index] else None
        if visible is None:
            continue
        least = (12 * size_px / 512) ** 2
        if np.count_nonzero(visible) < least:
            continue
        polygons = figure_polygons(visible)
        mask = visible if polygons is None else polygons_to_mask(polygons, height, width)
        objects.append(PageObject("character", mask, polygons, crowd))
    for parts in artist.bubbles:
        _add(objects, "bubble", [scan.points(part) for part in parts], width, height, 64)
    for box in artist.texts:
        _add(objects, "text", [scan.points(box)], width, height, 16)
    return Page(image, objects)


def _page_size(random: Random, size_px: int) -> tuple[int, int]:
    ratio = random.uniform(0.66, 0.8) if random.random() < 0.8 else random.uniform(0.8, 1.0)
    if random.random() < 0.05:
        return size_px, round(size_px * ratio)
    return round(size_px * ratio), size_px


def _boxes(figures: NDArray[Any], count: int) -> list[bool]:
    """Tell for each figure number from 1 whether any of it is visible."""
    seen = cv2.calcHist([figures], [0], None, [256], [0, 256]).ravel()
    return [bool(seen[index + 1]) for index in range(count)]


def _add(
    objects: list[PageObject],
    category: Category,
    parts: list[Points],
    width: int,
    height: int,
    least_px: int,
) -> None:
    """Append an object made of polygons, unless next to nothing of it lies on the page."""
    polygons = [flat for part in parts if (flat := inside(part, width, height)) is not None]
    if not polygons:
        return
    mask = polygons_to_mask(polygons, height, width)
    if np.count_nonzero(mask) >= least_px:
        objects.append(PageObject(category, mask, polygons, False))
