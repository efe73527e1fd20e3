"""Decode the images of a drop and keep them under the hash of their bytes."""

import hashlib
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import PurePosixPath

import numpy as np

from storage.objects import ObjectStore
from storage.objects.ahead import ahead
from tasks.drop_documents import mask_keys
from tasks.image_inspection import ImageFacts, ImageFailure, Inspected, inspect_images
from tasks.report.data import Progress
from tasks.seal_drops import ARCHIVE, UNSAFE, DropFile, SealedDrop
from tasks.sealed_files import read_sealed
from vision.coco import Finding, make_finding

# Every name that claims to be an image is opened, so that one that is none is set aside, named.
IMAGE_SUFFIXES = (
    *(".jpg", ".jpeg", ".jfif", ".png", ".webp", ".tif", ".tiff", ".gif", ".bmp"),
    *(".heic", ".heif", ".avif", ".svg", ".psd", ".eps"),
)
EXTENSIONS = {"JPEG": "jpg", "PNG": "png", "WEBP": "webp", "TIFF": "tif", "GIF": "gif"}

# Two pages whose 64-bit difference hashes differ in at most this many bits are near-duplicates.
NEAR_DUPLICATE_BITS = 4
VALIDATION_SHARE = 0.1


@dataclass(frozen=True)
class StoredImage:
    """An image of the drop that can be decoded; sizes are after EXIF orientation."""

    key: str
    image_id: str
    uri: str
    width_px: int
    height_px: int
    exif_orientation: int
    perceptual_hash: str


@dataclass
class DropImages:
    """The images of a drop.

    Attributes:
        stored: The good ones, by key.
        bad: What is wrong with the others, by key.
        masks: Keys of the files that are masks of a document, not images.
    """

    stored: dict[str, StoredImage] = field(default_factory=dict)
    bad: dict[str, Finding] = field(default_factory=dict)
    masks: frozenset[str] = frozenset()


def is_image(key: str) -> bool:
    """Whether a file's name claims that it is an image."""
    return PurePosixPath(key).suffix.lower() in IMAGE_SUFFIXES


def store_images(
    source: ObjectStore,
    target: ObjectStore | None,
    drop: SealedDrop,
    *,
    max_px: int,
    max_bytes: int,
    progress: Progress | None = None,
) -> DropImages:
    """Decode every image of the drop and store its bytes under their hash.

    Args:
        source: The store the drop lies in.
        target: The store of the data root; None only decodes.
        drop: The sealed drop.
        max_px: Largest number of pixels of an image.
        max_bytes: Largest size of an image file.
        progress: Told after each image.
    """
    # Of a drop that is refused nothing is kept.
    accepted = not any(file.refused in (ARCHIVE, UNSAFE) for file in drop.files)
    result = DropImages(masks=mask_keys(source, drop) if accepted else frozenset())
    files = {
        file.key: file
        for file in drop.files
        if accepted and is_image(file.key) and file.key not in result.masks
    }

    def contents() -> Iterator[tuple[str, bytes]]:
        good = (file for key, file in files.items() if key not in result.bad)
        read = partial(read_sealed, source)
        for file, content in ahead(good, read, lambda file: file.size_bytes):
            yield file.key, content.result()

    def store(inspected: Inspected) -> StoredImage | Finding:
        key, data, found = inspected
        if isinstance(found, ImageFailure):
            return make_finding(drop.relative(key), "", found.rule, found.value)
        return _store(target, files[key], data, found)

    for key, file in files.items():
        if file.refused:
            result.bad[key] = make_finding(drop.relative(key), "", "image.unreadable", file.reason)
        elif file.size_bytes > max_bytes:
            value = f"{file.size_bytes} bytes"
            result.bad[key] = make_finding(drop.relative(key), "", "image.too_large", value)
    inspected = inspect_images(contents(), max_px)
    for (key, _, _), future in ahead(inspected, store, lambda one: len(one[1])):
        outcome = future.result()
        if isinstance(outcome, StoredImage):
            result.stored[key] = outcome
        else:
            result.bad[key] = outcome
        if progress:
            progress("images", len(result.stored) + len(result.bad), len(files))
    return result


def _store(
    target: ObjectStore | None, file: DropFile, data: bytes, facts: ImageFacts
) -> StoredImage:
    extension = EXTENSIONS.get(facts.format, facts.format.lower())
    key = f"images/{file.sha256[:2]}/{file.sha256}.{extension}"
    if target is not None:
        target.create(key, data)
    return StoredImage(
        key=file.key,
        image_id=file.sha256,
        uri=target.uri(key) if target else key,
        width_px=facts.width_px,
        height_px=facts.height_px,
        exif_orientation=facts.exif_orientation,
        perceptual_hash=facts.perceptual_hash,
    )


class SplitDrawer:
    """Draws train or val for images so that near-duplicates always land in the same split."""

    def __init__(self) -> None:
        self._hashes = array("Q")
        self._splits: list[str] = []

    def remember(self, perceptual_hash: str, split: str) -> None:
        """An image with this 64-bit hash (hexadecimal) is in this split."""
        self._hashes.append(int(perceptual_hash, 16))
        self._splits.append(split)

    def draw(self, perceptual_hash: str) -> str:
        """The split of the image with this 64-bit hash (hexadecimal)."""
        value = np.uint64(int(perceptual_hash, 16))
        if self._splits:
            distances = np.bitwise_count(np.frombuffer(self._hashes, np.uint64) ^ value)
            nearest = int(distances.argmin())
            if distances[nearest] <= NEAR_DUPLICATE_BITS:
                return self._splits[nearest]
        digest = hashlib.sha256(perceptual_hash.encode()).digest()
        split = "val" if digest[0] < 256 * VALIDATION_SHARE else "train"
        self.remember(perceptual_hash, split)
        return split
