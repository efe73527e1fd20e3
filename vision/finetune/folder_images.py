"""Training images of a folder with COCO JSON, such as COCO itself or the comic layout."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from vision.coco import CheckedDocument, CocoImage, check_document
from vision.coco.mask_files import MaskFileError, ReadFile
from vision.finetune.errors import TrainingDataError
from vision.finetune.training_images import TrainingImage, UnusableImageError, read_pixels
from vision.images import perceptual_hash

MAIN_DOCUMENT = "annotations.json"
NEAR_DUPLICATE_BITS = 4
"""Images whose perceptual hashes differ in no more bits form a group."""

_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".gif")
# Of folders and documents, whose other names say nothing: a folder of valleys is no validation.
_SPLIT_NAME = re.compile(r"(train(ing)?|val(id(ation)?)?|test(ing)?)\d*", re.IGNORECASE)
_WORD = re.compile(r"[A-Za-z0-9]+")

Side = Literal["train", "val"]


@dataclass(frozen=True)
class FolderImages:
    """What a folder holds.

    Attributes:
        images: Images with at least one mask.
        problems: One line for each image or annotation that is left out.
    """

    images: list[TrainingImage]
    problems: list[str]


def read_folder(folder: Path) -> FolderImages:
    """Read the COCO documents of a folder: `annotations.json` files, else every `*.json`.

    An image's file is the one with the path that the document says, from the document's folder or
    from `folder`, or the only one whose path ends like that. Crowds are left out. The split is the
    one that the document says of the image or has in its own name (`instances_train2017.json`), or
    a folder called `train`, `valid`, `test2017`, ...; images of another split than train and val,
    or of both, are left out. Where no image has a split, near-duplicates form a group, for which
    every image is read.

    Args:
        folder: Any folder.

    Raises:
        TrainingDataError: There is no document, or none has an image with a mask that is not left
            out.
    """
    if not folder.is_dir():
        raise TrainingDataError(f"there is no folder {folder}")
    documents = sorted(folder.rglob("*.json"))
    documents = [path for path in documents if path.name == MAIN_DOCUMENT] or documents
    if not documents:
        raise TrainingDataError(f"{folder} holds no COCO JSON, such as {MAIN_DOCUMENT}")
    files = _Files(folder)
    images: dict[str, TrainingImage] = {}
    splits: dict[str, set[str]] = {}
    problems: list[str] = []
    for path in documents:
        name = path.relative_to(folder).as_posix()
        with path.open("rb") as data:
            read = _mask_reader(files, path.parent)
            document = check_document(data, name, path.stat().st_size + 1, read_file=read)
        problems += [
            f"{name} {found.pointer}: {found.rule}, {found.value}; expected {found.expected}"
            for found in document.findings
            if found.verdict != "note"
        ]
        for image in _images_of(document, path, files, splits, problems):
            known = images.get(image.image_id)
            if known is None:
                images[image.image_id] = image
            elif (known.height_px, known.width_px) == (image.height_px, image.width_px):
                # COCO keeps instances, keypoints, ... of the same images in several documents.
                images[image.image_id] = _together(known, image)
            else:
                problems.append(f"{name}: {image.image_id} has another size in another document")
    if not images:
        told = "".join(f"\n  {problem}" for problem in problems[:10])
        raise TrainingDataError(f"no image of {folder} has a usable mask{told}")
    found = _decided(images.values(), splits, problems)
    if not any(image.split for image in found):
        found = _grouped(found, problems)
    return FolderImages(found, problems)


class _Files:
    """Finds the files of a folder by their path or by the end of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self._endings: dict[str, Path | None] = {}
        for path in self.folder.rglob("*"):
            if path.suffix.lower() in _SUFFIXES and path.is_file() and self._is_inside(path):
                parts = path.relative_to(self.folder).parts
                for start in range(len(parts)):
                    ending = "/".join(parts[start:])
                    # An ending that fits two files names neither, but a whole path names its own.
                    taken = ending in self._endings and start > 0
                    self._endings[ending] = None if taken else path

    def find(self, name: str, beside: Path, split: str | None = None) -> Path | None:
        """The file that a document in the folder `beside` means.

        Args:
            name: As the document has it.
            beside: The folder.
            split: `train`, `val`, ..., if the document says so; the comic layout keeps images in a
                folder of each.
        """
        for place in (beside, *((beside / "images" / split, beside / split) if split else ())):
            near: Path = place / name
            if near.is_file() and self._is_inside(near):
                return near
        return self._endings.get(name)

    def _is_inside(self, path: Path) -> bool:
        return path.resolve().is_relative_to(self.folder)


def _mask_reader(files: _Files, beside: Path) -> ReadFile:
    def read(name: str) -> bytes:
        path = files.find(name, beside)
        if path is None:
            raise MaskFileError("mask_file.missing", name)
        return path.read_bytes()

    return read


def _images_of(
    document: CheckedDocument,
    path: Path,
    files: _Files,
    splits: dict[str, set[str]],
    problems: list[str],
) -> Iterable[TrainingImage]:
    masks: dict[int | str, list[tuple[bytes, str]]] = {}
    for annotation in document.annotations:
        if not annotation.iscrowd:
            masks.setdefault(annotation.image_id, []).append((annotation.rle, annotation.category))
    for image in document.images:
        file = files.find(image.file_name, path.parent, image.split)
        if file is None:
            if image.id in masks:
                problems.append(f"{path.name} {image.pointer}: there is no file {image.file_name}")
            continue
        image_id = file.resolve().relative_to(files.folder).as_posix()
        # A document that has no masks of an image may still be the one that holds it back.
        named = splits.setdefault(image_id, set())
        if (split := _named_split(image, path, file, files.folder)) is not None:
            named.add(split)
        if image.id not in masks:
            continue
        rles, labels = zip(*masks[image.id], strict=True)
        yield TrainingImage(
            image_id=image_id,
            pixels=file,
            height_px=image.height,
            width_px=image.width,
            rles=rles,
            labels=labels,
        )


def _together(known: TrainingImage, image: TrainingImage) -> TrainingImage:
    """The objects of an image that two documents list; the same mask is the same object."""
    pairs = zip(image.rles, image.labels, strict=True)
    new = [(rle, label) for rle, label in pairs if rle not in known.rles]
    return replace(
        known,
        rles=known.rles + tuple(rle for rle, _ in new),
        labels=known.labels + tuple(label for _, label in new),
    )


def _named_split(image: CocoImage, document: Path, file: Path, folder: Path) -> str | None:
    """The split that a document names for an image: `train`, `val` or another; None for none."""
    if image.split is not None:
        return _kind(image.split)
    of_document = {
        _kind(word) for word in _WORD.findall(document.stem) if _SPLIT_NAME.fullmatch(word)
    }
    if len(of_document) == 1:
        return of_document.pop()
    # The document itself may be a link to one that lies elsewhere.
    for place in (file.resolve().parent, document.parent.resolve()):
        for part in reversed(place.relative_to(folder).parts):
            if _SPLIT_NAME.fullmatch(part):
                return _kind(part)
    return None


def _kind(split: str) -> str:
    """As the tables have it: the rest of `train2017` only says from when it is."""
    name = split.lower()
    return next((kind for kind in ("train", "val") if name.startswith(kind)), name)


def _decided(
    images: Iterable[TrainingImage], splits: Mapping[str, set[str]], problems: list[str]
) -> list[TrainingImage]:
    """Put images on their side; leave out those of another split, and of more than one."""
    sides: dict[frozenset[str], Side | None] = {
        frozenset(): None, frozenset({"train"}): "train", frozenset({"val"}): "val",
    }  # fmt: skip
    decided: list[TrainingImage] = []
    for image in images:
        named = frozenset(splits[image.image_id])
        if named in sides:
            decided.append(replace(image, split=sides[named]))
        else:
            told = " and ".join(sorted(named))
            problems.append(f"{image.image_id}: the data has it in {told}; nothing is learnt of it")
    if not decided:
        raise TrainingDataError(f"there is nothing to learn from: {problems[-1]}")
    return decided


def _grouped(images: list[TrainingImage], problems: list[str]) -> list[TrainingImage]:
    """Put near-duplicates in one group; leave out what cannot be read."""
    usable: list[TrainingImage] = []
    hashes = np.zeros(len(images), np.uint64)
    for image in images:
        try:
            value = np.uint64(int(perceptual_hash(read_pixels(image)), 16))
        except UnusableImageError as error:
            problems.append(f"{image.image_id}: {error}")
            continue
        known = hashes[: len(usable)]
        distances = np.bitwise_count(known ^ value)
        hashes[len(usable)] = value
        group = image.image_id
        if len(usable) and distances.min() <= NEAR_DUPLICATE_BITS:
            group = usable[int(distances.argmin())].group or group
        usable.append(replace(image, group=group))
    if not usable:
        raise TrainingDataError(f"no image can be read: {problems[-1]}")
    return usable
