"""Prompts for SAM 2: clicks, boxes and earlier masks, at any image size.

Gives the masks of `sam2.sam2_image_predictor.SAM2ImagePredictor`, which knows images of 1024 pixels
only.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from sam2.modeling.sam2_base import SAM2Base
from torch.nn.functional import interpolate

from vision.prompted import Floats, PromptedMasks
from vision.sam2.embedding import ImageEmbedding, embed_image
from vision.sam2.point_decoder import CPU_POINTS_PER_BATCH
from vision.sam2.prompt_decoder import PromptDecoder

# What sam2's predictor makes of logits before they may be a prompt.
_MAX_LOGIT = 32.0
_TOP_LEFT, _BOTTOM_RIGHT = 2, 3
# Masks are enlarged in chunks of so many values: 128 MiB of float32.
_CHUNK_VALUES = 2**25


class PromptedSam2:
    """Follows the protocol `vision.prompted.PromptedModel`.

    Attributes:
        model: The SAM 2 model, in evaluation mode.
        model_id: Name and hash of the weights.
        fast: Whether it computes with 16 bits.
        prompts_per_batch: Prompts decoded at once.
    """

    def __init__(
        self,
        model: SAM2Base,
        model_id: str = "unnamed",
        fast: bool = False,
        prompts_per_batch: int = 64,
    ) -> None:
        self.model = model.eval()
        self.model_id = model_id
        self.fast = fast
        on_cpu = self.model.device.type == "cpu"
        self.prompts_per_batch = min(
            prompts_per_batch, CPU_POINTS_PER_BATCH if on_cpu else prompts_per_batch
        )
        self._image: ImageEmbedding | None = None
        self._decoder: PromptDecoder | None = None

    @torch.inference_mode()
    def set_image(self, rgb: npt.NDArray[np.uint8]) -> None:
        """Encode an image; see the protocol.

        Raises:
            ValueError: If `rgb` is not such an array, or has no pixels.
        """
        if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8 or rgb.size == 0:
            raise ValueError(
                "rgb must be uint8 with shape (height, width, 3) and at least one pixel, "
                f"but got {rgb.dtype} with shape {rgb.shape}"
            )
        self._image = self._decoder = None  # so that two are never in memory
        self._image = embed_image(self.model, rgb, self.fast)
        self._decoder = PromptDecoder(self.model, self._image)

    @torch.inference_mode()
    def predict(
        self,
        points_xy: npt.NDArray[np.floating] | None = None,
        point_labels: npt.NDArray[np.integer] | None = None,
        box_xyxy: npt.NDArray[np.floating] | None = None,
        mask_logits: Floats | None = None,
        multimask: bool = False,
    ) -> PromptedMasks:
        """Return the masks of n prompts; see the protocol."""
        image, decoder = self._image, self._decoder
        if image is None or decoder is None:
            raise RuntimeError("there is no image yet: call set_image first")
        count = _count(points_xy, point_labels, box_xyxy, mask_logits, self.mask_side)
        places, labels = self._places(image, points_xy, point_labels, box_xyxy)
        masks, ious, logits = [], [], []
        for start in range(0, count, self.prompts_per_batch):
            some = slice(start, start + self.prompts_per_batch)
            points = None if places is None else (places[some], labels[some])
            hints = None if mask_logits is None else self._tensor(mask_logits[some])[:, None]
            low, rated = decoder.decode(points, hints, multimask)
            masks.append(_enlarged(low, image.height_px, image.width_px))
            ious.append(rated.cpu().numpy())
            logits.append(low.clamp(-_MAX_LOGIT, _MAX_LOGIT).cpu().numpy())
        return np.concatenate(masks), np.concatenate(ious), np.concatenate(logits)

    @property
    def mask_side(self) -> int:
        """Side of the logits that may be a prompt."""
        side: int = self.model.sam_prompt_encoder.mask_input_size[0]
        return side

    def _tensor(self, values: npt.NDArray[Any]) -> torch.Tensor:
        return torch.tensor(values, dtype=torch.float32, device=self.model.device)

    def _places(
        self,
        image: ImageEmbedding,
        points_xy: npt.NDArray[np.floating] | None,
        point_labels: npt.NDArray[np.integer] | None,
        box_xyxy: npt.NDArray[np.floating] | None,
    ) -> tuple[Any, Any]:
        """Corners of the boxes, then clicks, in pixels of the model's square, and what they are."""
        places, kinds = [], []
        if box_xyxy is not None:
            places.append(self._tensor(box_xyxy).view(-1, 2, 2))
            corners = torch.tensor([[_TOP_LEFT, _BOTTOM_RIGHT]], device=self.model.device)
            kinds.append(corners.expand(len(box_xyxy), -1))
        if points_xy is not None:
            places.append(self._tensor(points_xy))
            kinds.append(torch.as_tensor(point_labels, device=self.model.device))
        if not places:
            return None, None
        size = torch.tensor([image.width_px, image.height_px], device=self.model.device)
        square = torch.cat(places, dim=1) / size * self.model.image_size
        return square, torch.cat(kinds, dim=1).to(torch.int32)


def _enlarged(logits: torch.Tensor, height_px: int, width_px: int) -> npt.NDArray[np.bool_]:
    """Masks at the size of the image, a few at a time."""
    flat = logits.flatten(0, 1)[:, None]
    masks = np.empty((len(flat), height_px, width_px), np.bool_)
    step = max(1, _CHUNK_VALUES // (height_px * width_px))
    for start in range(0, len(flat), step):
        large = interpolate(
            flat[start : start + step],
            (height_px, width_px),
            mode="bilinear",
            align_corners=False,
        )
        masks[start : start + step] = (large[:, 0] > 0).cpu().numpy()
    return masks.reshape(*logits.shape[:2], height_px, width_px)


def _count(
    points_xy: npt.NDArray[np.floating] | None,
    point_labels: npt.NDArray[np.integer] | None,
    box_xyxy: npt.NDArray[np.floating] | None,
    mask_logits: Floats | None,
    side: int,
) -> int:
    """How many prompts there are, after a look at their shapes."""
    given = {
        "points_xy": (points_xy, (None, None, 2)),
        "point_labels": (point_labels, (None, None)),
        "box_xyxy": (box_xyxy, (None, 4)),
        "mask_logits": (mask_logits, (None, side, side)),
    }
    shapes = {name: value.shape for name, (value, _) in given.items() if value is not None}
    for name, shape in shapes.items():
        wanted = given[name][1]
        fits = len(shape) == len(wanted) and all(
            w in (None, s) for w, s in zip(wanted, shape, strict=True)
        )
        if not fits:
            raise ValueError(f"expected {name} of shape {_shown(wanted)}, but got {shape}")
    if not shapes:
        raise ValueError("expected a prompt: points, a box or mask logits")
    if len({shape[0] for shape in shapes.values()}) > 1 or 0 in next(iter(shapes.values())):
        raise ValueError(f"expected as many of each prompt, at least one, but got {shapes}")
    if ("points_xy" in shapes) != ("point_labels" in shapes) or (
        "points_xy" in shapes and shapes["points_xy"][:2] != shapes["point_labels"]
    ):
        raise ValueError(f"expected a label for each point, but got {shapes}")
    return int(next(iter(shapes.values()))[0])


def _shown(shape: tuple[int | None, ...]) -> str:
    return "(" + ", ".join("n" if size is None else str(size) for size in shape) + ")"
