"""The automatic mask generator: a grid of points, three masks each, and the good ones kept.

Gives the masks of `sam2.automatic_mask_generator.SAM2AutomaticMaskGenerator` for the same
parameters, at any image size, in a fraction of its time and memory on a processor.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import groupby

import numpy as np
import numpy.typing as npt
import torch
from sam2.modeling.sam2_base import SAM2Base
from sam2.utils.amg import is_box_near_crop_edge
from torchvision.ops import nms

from vision.devices import device_name
from vision.sam2.candidates import Candidates, join, screen
from vision.sam2.crops import Crop, image_crops, point_grid
from vision.sam2.embedding import ImageEmbedding, embed_images
from vision.sam2.finishing import finish
from vision.sam2.overlaps import parents, without_duplicates, without_overlapping_boxes
from vision.sam2.parameters import PRESETS, GeneratorParams, params_id
from vision.sam2.point_decoder import decode_points
from vision.segmenter import Mask

IMAGES_PER_BATCH = 8
"""Images encoded at once on an accelerator, if its memory suffices."""

_log = logging.getLogger(__name__)


class AutomaticMaskGenerator:
    """Cuts whole images into masks; follows the protocol `vision.segmenter.Segmenter`.

    Attributes:
        model: The SAM 2 model, in evaluation mode.
        params: How it is asked and what is kept.
        model_id: Name and hash of the weights, as stored beside every segment.
        params_id: Hash of `params`, as stored beside every segment.
        points_per_batch: Points decoded at once; halved where the memory did not suffice.
        images_per_batch: Images, or crops of them, encoded at once; halved likewise.
    """

    def __init__(
        self, model: SAM2Base, params: GeneratorParams | None = None, model_id: str = "unnamed"
    ) -> None:
        self.model = model.eval()
        self.params = params or PRESETS["sam2"]
        self.model_id = model_id
        self.params_id = params_id(self.params)
        self.points_per_batch = self.params.points_per_batch
        # A processor is as fast with one, in less memory.
        self.images_per_batch = IMAGES_PER_BATCH if self.on_accelerator else 1
        self._grids = [
            point_grid(self.params, layer) for layer in range(self.params.crop_n_layers + 1)
        ]

    @property
    def on_accelerator(self) -> bool:
        """Whether the model is on anything but the processor."""
        return bool(self.model.device.type != "cpu")

    @property
    def device_name(self) -> str:
        """What computes: `cpu`, or the name of the accelerator."""
        return device_name(str(self.model.device))

    def segment(self, rgb: npt.NDArray[np.uint8]) -> list[Mask]:
        """Return the masks of an image, the one the model rates best first.

        Args:
            rgb: Shape (height, width, 3), RGB, 0 to 255.

        Raises:
            ValueError: If `rgb` is not such an array, or has no pixels.
            OutOfMemoryError: If the memory of the device does not suffice for a single point.
        """
        return self.segment_many([rgb])[0]

    @torch.inference_mode()
    def segment_many(self, images: Sequence[npt.NDArray[np.uint8]]) -> list[list[Mask]]:
        """Return the masks of several images, which share the encoder's work; see `segment`."""
        for rgb in images:
            if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8 or rgb.size == 0:
                raise ValueError(
                    "rgb must be uint8 with shape (height, width, 3) and at least one pixel, "
                    f"but got {rgb.dtype} with shape {rgb.shape}"
                )
        places = [
            (place, crop)
            for place, rgb in enumerate(images)
            for crop in image_crops(rgb.shape[0], rgb.shape[1], self.params)
        ]
        # An image at a time, so that no more than its candidates are in memory.
        masks = []
        for place, crops in groupby(self._embed(images, places), key=lambda item: item[0][0]):
            height_px, width_px = images[place].shape[:2]
            found = []
            for (_, crop), embedding in crops:
                candidates = self._decode(embedding, crop)
                best = best_of_crop(candidates, crop, height_px, width_px, self.params)
                found.append((crop, best))
            masks.append(self._whole(found, height_px, width_px))
        return masks

    def _whole(
        self, found: list[tuple[Crop, Candidates]], height_px: int, width_px: int
    ) -> list[Mask]:
        """Return the masks of an image from what its crops have."""
        finished = [
            outcome
            for crop, candidates in self._unique_across_crops(found)
            for outcome in finish(candidates, crop, height_px, width_px, self.params)
        ]
        finished.sort(key=lambda outcome: -outcome[0].predicted_iou)
        masks = without_overlapping_boxes(
            [mask for mask, _ in finished],
            [cleaned for _, cleaned in finished],
            max(self.params.box_nms_thresh, self.params.crop_nms_thresh),
        )
        masks = without_duplicates(masks, self.params.dedup_mask_iou, height_px, width_px)
        around = parents(masks, height_px, width_px)
        if not self.params.keep_nested:
            return [mask for mask, parent in zip(masks, around, strict=True) if parent is None]
        return [replace(mask, parent=parent) for mask, parent in zip(masks, around, strict=True)]

    def _embed(
        self, images: Sequence[npt.NDArray[np.uint8]], places: list[tuple[int, Crop]]
    ) -> Iterator[tuple[tuple[int, Crop], ImageEmbedding]]:
        """Encode the crops, fewer at once if the memory does not suffice."""
        fast = self.params.precision == "fast"
        start = 0
        while start < len(places):
            some = places[start : start + self.images_per_batch]
            parts = [
                images[place][crop.top : crop.bottom, crop.left : crop.right]
                for place, crop in some
            ]
            try:
                embeddings = embed_images(self.model, parts, fast)
            except torch.OutOfMemoryError as error:
                self.images_per_batch = _halved(self.images_per_batch, "images encoded", error)
            else:
                yield from zip(some, embeddings, strict=True)
                start += len(some)
                continue
            # Only here has the error let go of what it filled the memory with.
            torch.accelerator.empty_cache()

    def _decode(self, embedding: ImageEmbedding, crop: Crop) -> Candidates:
        """Ask at the points of a crop, at fewer at once if the memory does not suffice."""
        grid = self._grids[crop.layer] * np.array([[crop.width_px, crop.height_px]])
        points_xy = torch.as_tensor(grid, dtype=torch.float32, device=self.model.device)
        while True:
            try:
                return join(
                    [
                        screen(points, logits, ious, crop.height_px, crop.width_px, self.params)
                        for points, logits, ious in decode_points(
                            self.model, embedding, points_xy, self.points_per_batch, self.params
                        )
                    ]
                )
            except torch.OutOfMemoryError as error:
                self.points_per_batch = _halved(self.points_per_batch, "points decoded", error)
            torch.accelerator.empty_cache()

    def _unique_across_crops(
        self, found: list[tuple[Crop, Candidates]]
    ) -> list[tuple[Crop, Candidates]]:
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


def _halved(at_once: int, what: str, error: torch.OutOfMemoryError) -> int:
    """Half as many; raises the error where one was too much."""
    if at_once == 1:
        raise error
    at_once //= 2
    _log.warning("out of memory: from now on %d %s at once", at_once, what)
    return at_once


def best_of_crop(
    candidates: Candidates, crop: Crop, height_px: int, width_px: int, params: GeneratorParams
) -> Candidates:
    """Drop masks that the edge of their crop cuts, and those whose boxes a better one's covers.

    Args:
        candidates: All that was found in the crop.
        crop: Where they were found.
        height_px: Height of the image.
        width_px: Width of the image.
        params: The thresholds.
    """
    # A mask that ends where the crop ends is seldom whole, unless the image ends there too.
    cut = is_box_near_crop_edge(
        candidates.boxes_xyxy,
        [crop.left, crop.top, crop.right, crop.bottom],
        [0, 0, width_px, height_px],
    )
    candidates = candidates.select(~cut)
    return candidates.select(
        nms(candidates.boxes_xyxy, candidates.predicted_iou, params.box_nms_thresh)
    )
