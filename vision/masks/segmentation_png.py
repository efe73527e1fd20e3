"""COCO segmentations straight to mask PNGs, without the compressed counts in between."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from vision.masks.png import BitDepth, check_bit_depth, runs_to_png
from vision.masks.polygons import polygons_to_runs
from vision.masks.rle import parse_runs

Segmentation = Sequence[Sequence[float]] | Mapping[str, Any]
"""Polygons `[[x0, y0, x1, y1, ...], ...]` in pixels, or an RLE object `{"size", "counts"}`."""


def segmentation_to_png(
    segmentation: Segmentation, height: int, width: int, bit_depth: BitDepth = 1
) -> bytes:
    """Write the mask of a COCO annotation as a gray PNG.

    Args:
        segmentation: The annotation's segmentation.
        height: Height of the image, in pixels.
        width: Width of the image, in pixels.
        bit_depth: 1, or 8 for readers that need mode `L` (0 and 255).

    Returns:
        The PNG file; of an empty mask if no pixel is covered.

    Raises:
        ValueError: The bit depth is neither 1 nor 8.
        PolygonError: See `polygons_to_rle`.
        RleError: See `parse_rle`.
    """
    check_bit_depth(bit_depth)
    if isinstance(segmentation, Mapping):
        runs = parse_runs(segmentation, height, width)
    else:
        runs = polygons_to_runs(segmentation, height, width)
    return runs_to_png(runs, height, width, bit_depth)


def segmentations_to_pngs(
    segmentations: Iterable[Segmentation], height: int, width: int, bit_depth: BitDepth = 1
) -> Iterator[bytes]:
    """Write the masks of an image one by one, in their order; see `segmentation_to_png`."""
    for segmentation in segmentations:
        yield segmentation_to_png(segmentation, height, width, bit_depth)
