"""The parts of an image that the mask generator looks at, and the points it asks at in each."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sam2.utils.amg import generate_crop_boxes

from vision.sam2.parameters import GeneratorParams


@dataclass(frozen=True)
class Crop:
    """A part of an image, in pixels; the last row and column excluded.

    Attributes:
        layer: 0 for the whole image, 1 for its quarters, and so on.
    """

    left: int
    top: int
    right: int
    bottom: int
    layer: int

    @property
    def height_px(self) -> int:
        """Height in pixels."""
        return self.bottom - self.top

    @property
    def width_px(self) -> int:
        """Width in pixels."""
        return self.right - self.left

    @property
    def box_xywh(self) -> tuple[float, float, float, float]:
        """The part as COCO writes boxes."""
        return (float(self.left), float(self.top), float(self.width_px), float(self.height_px))


def image_crops(height_px: int, width_px: int, params: GeneratorParams) -> list[Crop]:
    """Return the whole image and the crops of all further layers."""
    boxes, layers = generate_crop_boxes(
        (height_px, width_px), params.crop_n_layers, params.crop_overlap_ratio
    )
    return [
        Crop(left, top, right, bottom, layer)
        for (left, top, right, bottom), layer in zip(boxes, layers, strict=True)
        # Of an image of few pixels some crops have none.
        if left < right and top < bottom
    ]


def point_grid(params: GeneratorParams, layer: int) -> npt.NDArray[np.float64]:
    """The points that the crops of a layer are asked at; if not given, evenly spaced.

    Returns:
        Shape (points, 2), x and y, 0 to 1 from the left and the top of a crop; row by row.
    """
    if params.point_grids is not None:
        return np.array(params.point_grids[layer], np.float64)
    divisor = params.crop_n_points_downscale_factor**layer
    columns = params.points_per_side // divisor
    rows = (params.points_per_column or params.points_per_side) // divisor
    x, y = np.meshgrid((np.arange(columns) + 0.5) / columns, (np.arange(rows) + 0.5) / rows)
    return np.stack([x.ravel(), y.ravel()], axis=1)
