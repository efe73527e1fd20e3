"""The one mask codec: run-length encoding, arrays, polygons and PNGs.

Convention everywhere: pycocotools' rasterisation and column-major COCO RLE.
"""

from vision.masks.choice import expect_masks, masks_made_by
from vision.masks.png import (
    BitDepth,
    MaskPngError,
    mask_to_png,
    png_to_mask,
    rle_to_png,
    runs_to_png,
)
from vision.masks.polygons import PolygonError, polygons_to_rle
from vision.masks.rle import (
    mask_to_rle,
    parse_rle,
    rle_area,
    rle_bbox,
    rle_containment,
    rle_intersection,
    rle_iou,
    rle_to_mask,
    rle_union,
)
from vision.masks.runs import MAX_MASK_PX, RleError
from vision.masks.segmentation_png import segmentation_to_png, segmentations_to_pngs

__all__ = [
    "MAX_MASK_PX",
    "BitDepth",
    "MaskPngError",
    "PolygonError",
    "RleError",
    "expect_masks",
    "mask_to_png",
    "mask_to_rle",
    "masks_made_by",
    "parse_rle",
    "png_to_mask",
    "polygons_to_rle",
    "rle_area",
    "rle_bbox",
    "rle_containment",
    "rle_intersection",
    "rle_iou",
    "rle_to_mask",
    "rle_to_png",
    "rle_union",
    "runs_to_png",
    "segmentation_to_png",
    "segmentations_to_pngs",
]
