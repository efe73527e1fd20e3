"""Small deterministic stand-ins for the models, for tests of everything around them."""

import threading
from collections.abc import Sequence

import cv2
import numpy as np

from vision.clip import UNKNOWN, LabelResult, RankedLabel
from vision.masks import mask_to_rle, rle_to_mask
from vision.segmenter import Mask


class ComponentSegmenter:
    """Cuts an image into the connected areas that are not white."""

    points_per_batch = 64
    images_per_batch = 1
    device_name = "cpu"

    def __init__(self):
        self.calls = 0

    def segment_many(self, images):
        return [self.segment(rgb) for rgb in images]

    def segment(self, rgb):
        self.calls += 1
        dark = (rgb.min(axis=2) < 250).astype(np.uint8)
        count, labels, boxes, _ = cv2.connectedComponentsWithStats(dark)
        height, width = dark.shape
        masks = []
        for number in range(1, count):
            mask = labels == number
            y, x = (int(values[0]) for values in np.nonzero(mask))
            left, top, box_width, box_height, area = (int(value) for value in boxes[number])
            masks.append(
                Mask(
                    rle=mask_to_rle(mask),
                    area_px=area,
                    bbox_xywh=(left, top, box_width, box_height),
                    predicted_iou=0.9,
                    stability_score=0.95,
                    point_xy=(x, y),
                    crop_box_xywh=(0, 0, width, height),
                )
            )
        return masks


class ColorLabeller:
    """Names a segment by the channel that is strongest in it: red, green or blue."""

    names = ("red", "green", "blue")

    def label_many(self, images):
        return [self.label(rgb, masks) for rgb, masks in images]

    def label(self, rgb, masks: Sequence[bytes | Mask]):
        results = []
        for mask in masks:
            counts = mask if isinstance(mask, bytes) else mask.rle
            pixels = rgb[rle_to_mask(counts, *rgb.shape[:2])].astype(float)
            shares = pixels.mean(axis=0) / max(1.0, pixels.mean(axis=0).sum())
            ranked = sorted(zip(self.names, shares, strict=True), key=lambda pair: -pair[1])
            margin = ranked[0][1] - ranked[1][1]
            top = tuple(RankedLabel(name, share, share) for name, share in ranked)
            name = ranked[0][0] if margin > 0.1 else UNKNOWN
            results.append(LabelResult(name, ranked[0][1], margin, top))
        return results


class PretendClock(threading.local):
    """A clock of each thread that goes only when it is told to; stands in for the module `time`."""

    now_s = 0.0

    def perf_counter(self):
        return self.now_s

    def pass_(self, seconds):
        self.now_s += seconds


class TimedSegmenter(ComponentSegmenter):
    """Takes the same time for every image, by a pretended clock."""

    def __init__(self, clock, seconds_per_image=1.0):
        super().__init__()
        self.clock = clock
        self.seconds_per_image = seconds_per_image

    def segment(self, rgb):
        self.clock.pass_(self.seconds_per_image)
        return super().segment(rgb)
