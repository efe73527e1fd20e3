"""Candidate masks: measured at the image's size, but kept at the model's.

A page has hundreds of candidates and keeps few. So only those whose predicted IoU passes are ever
enlarged, a few at a time, and none is held at full size.
"""

import math
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
import torch
from sam2.utils.amg import batched_mask_to_box
from torch.nn.functional import interpolate

from vision.sam2.parameters import GeneratorParams

# Enlarged masks are worked on in chunks of so many values: 64 MiB of float32.
_CHUNK_VALUES = 2**24
_CHUNK_MASKS = 16


@dataclass(frozen=True)
class Candidates:
    """Masks of one crop that have passed the filters so far.

    Attributes:
        logits: Shape (n, side, side), float32, at the model's resolution.
        predicted_iou: Shape (n,).
        stability: Shape (n,).
        boxes_xyxy: Shape (n, 4), float32, pixels of the crop, the last row and column included.
        points_xy: Shape (n, 2), pixels of the crop.
    """

    logits: torch.Tensor
    predicted_iou: torch.Tensor
    stability: torch.Tensor
    boxes_xyxy: torch.Tensor
    points_xy: torch.Tensor

    def __len__(self) -> int:
        return len(self.logits)

    def select(self, rows: torch.Tensor) -> "Candidates":
        """Return the candidates at these indices, or where this boolean mask is true."""
        return Candidates(
            self.logits[rows],
            self.predicted_iou[rows],
            self.stability[rows],
            self.boxes_xyxy[rows],
            self.points_xy[rows],
        )


def join(parts: list[Candidates]) -> Candidates:
    """Return the candidates of at least one part as one."""
    return Candidates(
        torch.cat([part.logits for part in parts]),
        torch.cat([part.predicted_iou for part in parts]),
        torch.cat([part.stability for part in parts]),
        torch.cat([part.boxes_xyxy for part in parts]),
        torch.cat([part.points_xy for part in parts]),
    )


def enlarge(logits: torch.Tensor, height_px: int, width_px: int) -> torch.Tensor:
    """Return logits of shape (n, side, side) at (n, height_px, width_px)."""
    return interpolate(
        logits[:, None], (height_px, width_px), mode="bilinear", align_corners=False
    )[:, 0]


def masks_at_once(height_px: int, width_px: int) -> int:
    """How many masks of this size are enlarged together."""
    return max(1, min(_CHUNK_MASKS, _CHUNK_VALUES // (height_px * width_px)))


def screen(
    points_xy: torch.Tensor,
    logits: torch.Tensor,
    ious: torch.Tensor,
    height_px: int,
    width_px: int,
    params: GeneratorParams,
) -> Candidates:
    """Keep the masks that are stable at the size of the image.

    Args:
        points_xy: Shape (n, 2), the points the masks were asked for at.
        logits: Shape (n, side, side), float32.
        ious: Shape (n,), the model's estimates.
        height_px: Height of the crop.
        width_px: Width of the crop.
        params: The thresholds.
    """
    stability, boxes_xyxy = _measure(logits, height_px, width_px, params)
    # An empty mask has no stability: NaN, which no comparison lets pass.
    stable = stability >= params.stability_score_thresh
    found = Candidates(logits, ious, stability, boxes_xyxy, points_xy)
    return found if bool(stable.all()) else found.select(stable)


def _measure(
    logits: torch.Tensor, height_px: int, width_px: int, params: GeneratorParams
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return stability (n,) and boxes (n, 4) of masks enlarged to the crop; NaN where empty."""
    chunk = masks_at_once(height_px, width_px)
    measure = _measure_on_host if logits.device.type == "cpu" else _measure_on_device
    parts = [
        measure(part, enlarge(part, height_px, width_px), params)
        for part in torch.split(logits, chunk)
        if len(part)
    ]
    if not parts:
        return logits.new_zeros(0), logits.new_zeros(0, 4)
    return torch.cat([part[0] for part in parts]), torch.cat([part[1] for part in parts])


def _measure_on_device(
    _: torch.Tensor, enlarged: torch.Tensor, params: GeneratorParams
) -> tuple[torch.Tensor, torch.Tensor]:
    inner = (enlarged > params.mask_threshold + params.stability_score_offset).sum((-2, -1))
    outer = (enlarged > params.mask_threshold - params.stability_score_offset).sum((-2, -1))
    binary = enlarged > params.mask_threshold
    stability = torch.where(binary.flatten(1).any(1), inner / outer, torch.nan)
    return stability, batched_mask_to_box(binary).float()


def _measure_on_host(
    logits: torch.Tensor, enlarged: torch.Tensor, params: GeneratorParams
) -> tuple[torch.Tensor, torch.Tensor]:
    # On a processor OpenCV counts and finds boxes many times faster than tensor reductions do.
    stability = np.full(len(logits), np.nan, np.float32)
    boxes = np.zeros((len(logits), 4), np.float32)
    offset = params.stability_score_offset
    for index, (small, large) in enumerate(zip(logits.numpy(), enlarged.numpy(), strict=True)):
        rows, columns = _reach(small, params.mask_threshold - offset, large.shape)
        values = large[rows, columns]
        inner = _count_above(values, params.mask_threshold + offset)
        outer = _count_above(values, params.mask_threshold - offset)
        if outer == 0 or np.float32(inner) / np.float32(outer) < params.stability_score_thresh:
            continue
        binary = (values > params.mask_threshold).view(np.uint8)
        x, y, width, height = cv2.boundingRect(binary)
        if width == 0:
            continue
        x, y = x + columns.start, y + rows.start
        stability[index] = np.float32(inner) / np.float32(outer)
        boxes[index] = (x, y, x + width - 1, y + height - 1)
    return torch.from_numpy(stability), torch.from_numpy(boxes)


def _reach(
    logits: npt.NDArray[np.float32], threshold: float, shape: tuple[int, ...]
) -> tuple[slice, slice]:
    """Rows and columns outside of which no logit exceeds the threshold once it is enlarged.

    An enlarged logit lies between the four around its place, which are at most one apart from it.
    """
    x, y, width, height = cv2.boundingRect((logits > threshold).view(np.uint8))
    return (
        _enlarged_range(y, height, shape[0] / logits.shape[0], shape[0]),
        _enlarged_range(x, width, shape[1] / logits.shape[1], shape[1]),
    )


def _enlarged_range(start: int, count: int, scale: float, size: int) -> slice:
    first = math.floor((start - 0.5) * scale) - 1
    last = math.ceil((start + count + 0.5) * scale) + 1
    return slice(max(first, 0), min(max(last, 0), size))


def _count_above(values: npt.NDArray[np.float32], threshold: float) -> int:
    return int(cv2.countNonZero((values > threshold).view(np.uint8)))
