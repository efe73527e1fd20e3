"""Change images for training: mirror, crop, colour, and the marks of a scan.

All that is drawn comes from the generator that is handed in, so an image of a given step looks the
same however often the step is done.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from vision.finetune.config import AugmentationSection

Pixels = NDArray[np.uint8]

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


@dataclass(frozen=True)
class View:
    """The part of an image that is shown.

    Attributes:
        x: Left edge in pixels of the image.
        y: Upper edge.
        width: Width in pixels.
        height: Height in pixels.
        mirrored: Whether left and right change places.
    """

    x: int
    y: int
    width: int
    height: int
    mirrored: bool = False


def whole(height: int, width: int) -> View:
    """All of an image."""
    return View(0, 0, width, height)


def draw_view(
    height: int,
    width: int,
    around: tuple[float, float],
    settings: AugmentationSection,
    random: np.random.Generator,
) -> View:
    """Draw which part of an image is shown.

    Args:
        height: Height of the image in pixels.
        width: Width of the image in pixels.
        around: A point (x, y) that the part contains.
        settings: How often, and how small.
        random: What is drawn from; the same number of draws is taken whatever comes of them.
    """
    crop, mirrored, scale, across, down = random.random(5)
    flipped = bool(mirrored < settings.flip)
    if crop >= settings.crop:
        return View(0, 0, width, height, flipped)
    share = settings.crop_least + (1 - settings.crop_least) * scale
    x, part_width = _range(width, share, around[0], across)
    y, part_height = _range(height, share, around[1], down)
    return View(x, y, part_width, part_height, flipped)


def _range(size: int, share: float, around: float, place: float) -> tuple[int, int]:
    """Start and length of a part of `size` pixels that contains `around`."""
    length = max(1, round(size * share))
    first = max(0, int(np.floor(around)) - length + 1)
    last = min(size - length, int(np.floor(around)))
    return first + int(place * (last - first + 1)), length


def change_pixels(
    rgb: Pixels, settings: AugmentationSection, random: np.random.Generator
) -> Pixels:
    """Change colours and add the marks of a scan.

    Args:
        rgb: uint8, shape (height, width, 3).
        settings: How often, and how much.
        random: What is drawn from.
    """
    brightness, contrast, saturation = (
        1 + share * random.uniform(-1, 1)
        for share in (settings.brightness, settings.contrast, settings.saturation)
    )
    gray = random.random() < settings.gray
    scanned = random.random() < settings.scan_noise
    values = rgb.astype(np.float32)
    if gray or saturation != 1:
        luma = (values @ _LUMA)[..., None]
        values = luma + (0.0 if gray else np.float32(saturation)) * (values - luma)
    mean = values.mean()
    values = ((values - mean) * np.float32(contrast) + mean) * np.float32(brightness)
    if scanned:
        return _scanned(values, random)
    changed: Pixels = np.clip(values + 0.5, 0, 255).astype(np.uint8)
    return changed


def _scanned(values: NDArray[np.float32], random: np.random.Generator) -> Pixels:
    """Blur, shade from one side, grain and JPEG's blocks."""
    height, width = values.shape[:2]
    values = cv2.GaussianBlur(values, (0, 0), random.uniform(0.3, 1.0)).astype(np.float32)
    angle, depth = random.uniform(0, 2 * np.pi), random.uniform(0, 0.15)
    across = np.cos(angle) * np.linspace(-0.5, 0.5, width, dtype=np.float32)
    down = np.sin(angle) * np.linspace(-0.5, 0.5, height, dtype=np.float32)
    shade = 1 - depth * (0.5 + across + down[:, None])
    grain = random.standard_normal((height, width, 1), np.float32) * random.uniform(1, 8)
    values = np.asarray(values * shade[..., None].astype(np.float32) + grain)
    noisy = np.clip(values + 0.5, 0, 255).astype(np.uint8)
    quality = [cv2.IMWRITE_JPEG_QUALITY, int(random.integers(40, 90))]
    _, data = cv2.imencode(".jpg", noisy, quality)
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)
