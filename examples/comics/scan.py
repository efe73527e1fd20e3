"""What a scanner does to a page: a slight turn, blur, noise, uneven light."""

from random import Random
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from examples.comics.brush import Color, Points


class Scan:
    """The same scan for the picture, the figure map and the outlines of one page."""

    def __init__(self, random: Random, width_px: int, height_px: int) -> None:
        self._random = random
        self._size = (width_px, height_px)
        self._matrix: NDArray[np.float64] | None = None
        if random.random() < 0.45:
            turn = random.gauss(0, 0.9)
            zoom = random.uniform(0.97, 1.0)
            matrix = cv2.getRotationMatrix2D((width_px / 2, height_px / 2), turn, zoom)
            matrix[0, 1] += random.gauss(0, 0.006)
            self._matrix = np.asarray(matrix, dtype=np.float64)
        self._noise_seed = random.getrandbits(32)

    def image(self, image: NDArray[Any], paper: Color) -> NDArray[np.uint8]:
        """Scan the picture: uint8 ``(h, w, 3)``."""
        random = self._random
        if self._matrix is not None:
            image = cv2.warpAffine(
                image,
                self._matrix,
                self._size,
                flags=cv2.INTER_LINEAR,
                borderMode=cv2.BORDER_CONSTANT,
                borderValue=paper,
            )
        if random.random() < 0.25:
            image = cv2.GaussianBlur(image, (3, 3), random.uniform(0.3, 0.7))
        if random.random() < 0.5:
            levels = np.random.default_rng(self._noise_seed)
            spread = random.uniform(1.5, 7)
            # one sheet of noise for all channels: grain of paper, and a third of the work
            grain = levels.standard_normal(image.shape[:2], dtype=np.float32) * spread
            grain8 = grain.astype(np.int16)
            image = np.clip(image.astype(np.int16) + grain8[..., None], 0, 255).astype(np.uint8)
        if random.random() < 0.2:
            tint = np.array([255, random.randint(242, 253), random.randint(222, 245)], np.float64)
            table = np.arange(256)[:, None] * (tint / 255)
            image = cv2.LUT(image, table.astype(np.uint8)[None])
        if random.random() < 0.2:
            quality = [cv2.IMWRITE_JPEG_QUALITY, random.randint(45, 90)]
            data = cv2.imencode(".jpg", image, quality)[1]
            image = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR))
        return np.ascontiguousarray(image)

    def labels(self, figures: NDArray[Any]) -> NDArray[np.uint8]:
        """Turn the map of figures like the picture."""
        if self._matrix is None:
            return figures
        return np.asarray(
            cv2.warpAffine(figures, self._matrix, self._size, flags=cv2.INTER_NEAREST),
            dtype=np.uint8,
        )

    def points(self, points: Points) -> Points:
        """Turn an outline like the picture; pixel centres lie at half coordinates."""
        if self._matrix is None:
            return points + 0.5
        return points @ self._matrix[:, :2].T + self._matrix[:, 2] + 0.5
