"""The automatic mask generator: a grid of points, three masks each, and the good ones kept.

Gives the masks of `sam2.automatic_mask_generator.SAM2AutomaticMaskGenerator` for the same
parameters, at any image size, in a fraction of its time and memory on a processor.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from pycocotools import mask as coco_mask
from sam2.modeling.sam2_base import SAM2Base
from sam2.utils.amg import generate_crop_boxes, is_box_near_crop_edge
from torchvision.ops import nms

from vision.masks.rle import mask_to_rle
from vision.sam2.candidates import Candidates, enlarge, join, screen
from vision.sam2.cleanup import remove_small_regions
from vision.sam2.embedding import embed_image
from vision.sam2.parameters import PRESETS, GeneratorParams, params_id
from vision.sam2.point_decoder import decode_points
from vision.segmenter import Mask

__all__ = ["PRESETS", "AutomaticMaskGenerator", "GeneratorParams", "Mask", "params_id"]


@dataclass(frozen=True)
class _Crop:
    """A part of the image, in pixels; the last row and column excluded."""

    left: int
    top: int
    right: int
    bottom: int
    layer: int

    @property
    def height_px(self) -> int:
        return self.bottom - self.top

    @property
    def width_px(self) -> int:
        return self.right - self.left

    @property
    def box_xywh(self) -> tuple[float, float, float, float]:
        return (float(self.left), float(self.top), float(self.width_px), float(self.height_px))


def point_grid(params: GeneratorParams, layer: int) -> npt.NDArray[np.float64]:
    """The points that the crops of a layer are asked at, evenly spaced.

    Returns:
        Shape (points, 2), x and y, 0 to 1 from the left and the top of a crop; row by row.
    """
    divisor = params.crop_n_points_downscale_factor**layer
    columns = params.points_per_side // divisor
    rows = (params.points_per_column or params.points_per_side) // divisor
    x, y = np.meshgrid((np.arange(columns) + 0.5) / columns, (np.arange(rows) + 0.5) / rows)
    return np.stack([x.ravel(), y.ravel()], axis=1)


class AutomaticMaskGenerator:
    """Cuts whole images into masks; follows the protocol `vision.segmenter.Segmenter`.

    Attributes:
        model: The SAM 2 model, in evaluation mode.
        params: How it is asked and what is kept.
        model_id: Name and hash of the weights, as stored beside every segment.
        params_id: Hash of `params`, as stored beside every segment.
    """

    def __init__(
        self, model: SAM2Base, params: GeneratorParams | None = None, model_id: str = "unnamed"
    ) -> None:
        self.model = model.eval()
        self.params = params or PRESETS["sam2"]
        self.model_id = model_id
        self.params_id = params_id(self.params)
        self._grids = [
            point_grid(self.params, layer) for layer in range(self.params.crop_n_layers + 1)
        ]

    @torch.inference_mode()
    def segment(self, rgb: npt.NDArray[np.uint8]) -> list[Mask]:
        """Return the masks of an image, the one the model rates best first.

        Args:
            rgb: Shape (height, width, 3), RGB, 0 to 255.

        Raises:
            ValueError: If `rgb` is not such an array, or has no pixels.
        """
        if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8 or rgb.size == 0:
            raise ValueError(
                "rgb must be uint8 with shape (height, width, 3) and at least one pixel, "
                f"but got {rgb.dtype} with shape {rgb.shape}"
            )
        height_px, width_px = rgb.shape[:2]
        boxes, layers = generate_crop_boxes(
            (height_px, width_px), self.params.crop_n_layers, self.params.crop_overlap_ratio
        )
        crops = [
            _Crop(left, top, right, bottom, layer)
            for (left, top, right, bottom), layer in zip(boxes, layers, strict=True)
        ]
        found = [(crop, self._candidates(rgb, crop)) for crop in crops]
        masks = [
            mask
            for crop, candidates in self._unique_across_crops(found)
            for mask in self._finish(crop, candidates, height_px, width_px)
        ]
        masks.sort(key=lambda mask: -mask.predicted_iou)
        return self._without_duplicates(masks, height_px, width_px)

    def _candidates(self, rgb: npt.NDArray[np.uint8], crop: _Crop) -> Candidates:
        """Return the masks of one crop that pass every filter but those of the whole image."""
        params = self.params
        embedding = embed_image(self.model, rgb[crop.top : crop.bottom, crop.left : crop.right])
        grid = self._grids[crop.layer] * np.array([[crop.width_px, crop.height_px]])
        points_xy = torch.as_tensor(grid, dtype=torch.float32, device=self.model.device)
        decoded = decode_points(
            self.model,
            embedding,
            points_xy,
            points_per_batch=params.points_per_batch,
            multimask_output=params.multimask_output,
            pred_iou_thresh=params.pred_iou_thresh,
        )
        candidates = join(
            [
                screen(points, logits, ious, crop.height_px, crop.width_px, params)
                for points, logits, ious in decoded
            ]
        )
        # A mask that ends where the crop ends is seldom whole, unless the image ends there too.
        cut = is_box_near_crop_edge(
            candidates.boxes_xyxy,
            [crop.left, crop.top, crop.right, crop.bottom],
            [0, 0, rgb.shape[1], rgb.shape[0]],
        )
        candidates = candidates.select(~cut)
        return candidates.select(
            nms(candidates.boxes_xyxy, candidates.predicted_iou, params.box_nms_thresh)
        )

    def _unique_across_crops(
        self, found: list[tuple[_Crop, Candidates]]
    ) -> list[tuple[_Crop, Candidates]]:
        """Drop masks that a smaller crop has found too."""
        if len(found) == 1:
            return found
        device = found[0][1].boxes_xyxy.device
        boxes = torch.cat(
            [
                candidates.boxes_xyxy
                + torch.tensor([crop.left, crop.top, crop.left, crop.top], device=device)
                for crop, candidates in found
            ]
        )
        smallness = torch.cat(
            [
                torch.full((len(candidates),), 1 / (crop.height_px * crop.width_px), device=device)
                for crop, candidates in found
            ]
        )
        keep = torch.zeros(len(boxes), dtype=torch.bool, device=device)
        keep[nms(boxes, smallness, self.params.crop_nms_thresh)] = True
        rows = torch.split(keep, [len(candidates) for _, candidates in found])
        return [
            (crop, candidates.select(row))
            for (crop, candidates), row in zip(found, rows, strict=True)
        ]

    def _finish(
        self, crop: _Crop, candidates: Candidates, height_px: int, width_px: int
    ) -> list[Mask]:
        """Enlarge, clean, measure and encode the masks of one crop."""
        masks = []
        most_px = self.params.max_area_fraction * height_px * width_px
        for index in range(len(candidates)):
            logits = candidates.logits[index : index + 1]
            inside = enlarge(logits, crop.height_px, crop.width_px)[0] > self.params.mask_threshold
            mask = np.zeros((height_px, width_px), np.bool_)
            mask[crop.top : crop.bottom, crop.left : crop.right] = inside.cpu().numpy()
            mask = remove_small_regions(mask, self.params.min_mask_region_area)
            rle = mask_to_rle(mask)
            counts = {"size": [height_px, width_px], "counts": rle}
            area_px = int(coco_mask.area(counts))
            if not max(self.params.min_area_px, 1) <= area_px <= most_px:
                continue
            x, y, box_width, box_height = (float(value) for value in coco_mask.toBbox(counts))
            point_x, point_y = candidates.points_xy[index].tolist()
            masks.append(
                Mask(
                    rle=rle,
                    area_px=area_px,
                    bbox_xywh=(x, y, box_width, box_height),
                    predicted_iou=float(candidates.predicted_iou[index]),
                    stability_score=float(candidates.stability[index]),
                    point_xy=(point_x + crop.left, point_y + crop.top),
                    crop_box_xywh=crop.box_xywh,
                )
            )
        return masks

    def _without_duplicates(self, masks: list[Mask], height_px: int, width_px: int) -> list[Mask]:
        """Drop masks nearly equal to a better one; boxes alone cannot tell nested from equal."""
        if self.params.dedup_mask_iou >= 1 or len(masks) < 2:
            return masks
        counts = [{"size": [height_px, width_px], "counts": mask.rle} for mask in masks]
        overlaps = coco_mask.iou(counts, counts, [0] * len(counts))
        kept: list[int] = []
        for index in range(len(masks)):
            if not (overlaps[index, kept] > self.params.dedup_mask_iou).any():
                kept.append(index)
        return [masks[index] for index in kept]
