"""The one mask codec: run-length encoding, arrays, polygons and PNGs.

Convention everywhere: pycocotools' rasterisation and column-major COCO RLE.
"""

from vision.masks.png import MaskPngError, mask_to_png, png_to_mask, rle_to_png
from vision.masks.polygons import PolygonError, polygons_to_rle
from vision.masks.rle import (
    mask_to_rle,
    parse_rle,
    rle_area,
    rle_bbox,
    rle_iou,
    rle_to_mask,
    rle_union,
)
from vision.masks.runs import MAX_MASK_PX, RleError

__all__ = [
    "MAX_MASK_PX",
    "MaskPngError",
    "PolygonError",
    "RleError",
    "mask_to_png",
    "mask_to_rle",
    "parse_rle",
    "png_to_mask",
    "polygons_to_rle",
    "rle_area",
    "rle_bbox",
    "rle_iou",
    "rle_to_mask",
    "rle_to_png",
    "rle_union",
]
