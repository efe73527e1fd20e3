"""Decode the images of a drop and keep them under the hash of their bytes."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import PurePosixPath

import numpy as np

from storage.objects import ObjectStore
from tasks.drops import DropFile, SealedDrop
from tasks.report.data import Progress
from vision.coco import Finding, make_finding
from vision.images import ImageError, decode_image, perceptual_hash

# Every name that claims to be an image is opened, so that one that is none is set aside, named.
IMAGE_SUFFIXES = (
    *(".jpg", ".jpeg", ".jfif", ".png", ".webp", ".tif", ".tiff", ".gif", ".bmp"),
    *(".heic", ".heif", ".avif", ".svg", ".psd", ".eps"),
)
EXTENSIONS = {"JPEG": "jpg", "PNG": "png", "WEBP": "webp", "TIFF": "tif", "GIF": "gif"}

# Two pages whose 64-bit difference hashes differ in at most this many bits are near-duplicates.
NEAR_DUPLICATE_BITS = 4
VALIDATION_SHARE = 0.1


class DropChangedError(RuntimeError):
    """A file was overwritten after its drop was sealed; sealing again takes the new bytes.

    Attributes:
        key: The file.
    """

    def __init__(self, key: str) -> None:
        self.key = key
        super().__init__(f"{key} changed after its drop was sealed; run the command again")


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
    """The good images, and what is wrong with the bad ones, by key."""

    stored: dict[str, StoredImage] = field(default_factory=dict)
    bad: dict[str, Finding] = field(default_factory=dict)


def is_image(key: str) -> bool:
    """Whether a file's name claims that it is an image."""
    return PurePosixPath(key).suffix.lower() in IMAGE_SUFFIXES


def image_finding(name: str, error: ImageError) -> Finding:
    """What is wrong with an image file.

    Args:
        name: The file inside the drop.
        error: Why it could not be decoded.
    """
    # A decoder's exception is told by its words; shown like other values it would hide them.
    value = str(error.value) if isinstance(error.value, Exception) else error.value
    return make_finding(name, "", error.rule, value)


def read_sealed(source: ObjectStore, file: DropFile) -> bytes:
    """The bytes of a sealed file.

    Raises:
        DropChangedError: If they are not those that were sealed.
    """
    data = source.read(file.key)
    if hashlib.sha256(data).hexdigest() != file.sha256:
        raise DropChangedError(file.key)
    return data


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
    files = [file for file in drop.files if is_image(file.key)]
    result = DropImages()
    for done, file in enumerate(files, start=1):
        try:
            if file.size_bytes > max_bytes:
                raise ImageError("image.too_large", f"{file.size_bytes} bytes")
            data = read_sealed(source, file)
            decoded = decode_image(data, max_px)
        except ImageError as error:
            name = drop.relative(file.key)
            result.bad[file.key] = image_finding(name, error)
        else:
            extension = EXTENSIONS.get(decoded.format, decoded.format.lower())
            key = f"images/{file.sha256[:2]}/{file.sha256}.{extension}"
            if target is not None:
                target.create(key, data)
            result.stored[file.key] = StoredImage(
                key=file.key,
                image_id=file.sha256,
                uri=target.uri(key) if target else key,
                width_px=decoded.width_px,
                height_px=decoded.height_px,
                exif_orientation=decoded.exif_orientation,
                perceptual_hash=perceptual_hash(decoded.rgb),
            )
        if progress:
            progress("images", done, len(files))
    return result


class SplitDrawer:
    """Draws train or val for images so that near-duplicates always land in the same split."""

    def __init__(self) -> None:
        self._hashes = np.empty(0, dtype=np.uint64)
        self._splits: list[str] = []

    def draw(self, perceptual_hash: str) -> str:
        """The split of the image with this 64-bit hash (hexadecimal)."""
        value = np.uint64(int(perceptual_hash, 16))
        if len(self._splits):
            distances = np.bitwise_count(self._hashes ^ value)
            nearest = int(distances.argmin())
            if distances[nearest] <= NEAR_DUPLICATE_BITS:
                return self._splits[nearest]
        digest = hashlib.sha256(perceptual_hash.encode()).digest()
        split = "val" if digest[0] < 256 * VALIDATION_SHARE else "train"
        self._hashes = np.append(self._hashes, value)
        self._splits.append(split)
        return split


class FileNames:
    """Finds the file of the drop that a COCO `file_name` means."""

    def __init__(self, keys: Iterable[str], prefix: str) -> None:
        self._paths: dict[str, str] = {}
        self._endings: dict[str, str | None] = {}
        for key in keys:
            parts = PurePosixPath(key[len(prefix) :]).parts
            self._paths["/".join(parts)] = key
            for start in range(1, len(parts)):
                ending = "/".join(parts[start:])
                # An ending that fits two files names neither.
                self._endings[ending] = None if ending in self._endings else key

    def find(self, file_name: str) -> str | None:
        """The key of the file with this path, or the only one whose path ends with it."""
        return self._paths.get(file_name) or self._endings.get(file_name)

    def names(self) -> dict[str, str]:
        """Every name that means exactly one file, with that file's key."""
        endings = {name: key for name, key in self._endings.items() if key is not None}
        return endings | self._paths
