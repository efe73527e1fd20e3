"""The COCO documents of a drop, and the mask files they name."""

from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import PurePosixPath
from typing import Any

from storage.objects import ObjectStore
from storage.settings import get_settings
from tasks.drop_names import FileNames
from tasks.seal_drops import DropFile, SealedDrop
from tasks.sealed_files import read_sealed
from vision.coco.json_text import DocumentError, parse_json
from vision.coco.panoptic import is_panoptic

MAIN_DOCUMENT = "annotations.json"

# Only documents with one of these words name mask files; the others are not parsed for it.
_NAMING_MASKS = (b'"segmentation_file"', b'"segments_info"')


class MaskNames:
    """Finds the mask files that documents of a drop name."""

    def __init__(self, drop: SealedDrop) -> None:
        """Nothing is looked at before the first question: most documents name no masks."""
        self._drop = drop

    def find(self, document: DropFile, name: str) -> DropFile | None:
        """The file with this path from the document, or the only one whose path ends with it."""
        place = PurePosixPath(self._drop.relative(document.key))
        # COCO keeps the masks of panoptic.json in a folder panoptic/ beside it.
        for folder in (place.parent, place.with_suffix("")):
            if file := self._files.get(str(folder / name)):
                return file
        path = self._names.find(name)
        return None if path is None else self._files[path]

    @cached_property
    def _files(self) -> dict[str, DropFile]:
        return {self._drop.relative(file.key): file for file in self._drop.files}

    @cached_property
    def _names(self) -> FileNames:
        return FileNames(self._files, "")


def documents_of(drop: SealedDrop) -> list[DropFile]:
    """The COCO documents: `annotations.json` if the drop has one, else every `*.json`."""
    found = [file for file in drop.files if PurePosixPath(file.key).suffix.lower() == ".json"]
    main = [file for file in found if PurePosixPath(file.key).name == MAIN_DOCUMENT]
    return main or found


def results_beside(drop: SealedDrop) -> list[DropFile]:
    """The files that may be COCO results beside `annotations.json`: those named `*results.json`.

    Without `annotations.json` every JSON file is a document, and there are none.
    """
    documents = documents_of(drop)
    if not any(PurePosixPath(file.key).name == MAIN_DOCUMENT for file in documents):
        return []
    return [
        file
        for file in drop.files
        if PurePosixPath(file.key).name.lower().endswith("results.json") and not file.refused
    ]


def mask_keys(source: ObjectStore, drop: SealedDrop) -> frozenset[str]:
    """Keys of the files that documents of the drop name as masks, and not as images.

    A document that is too large, or no JSON, names none: it is refused later, when it is checked.

    Args:
        source: The store the drop lies in.
        drop: The sealed drop.

    Raises:
        DropChangedError: If a document is not what was sealed.
    """
    masks: set[str] = set()
    images: set[str] = set()
    names = MaskNames(drop)
    every_name: FileNames | None = None
    max_bytes = get_settings().max_json_bytes
    for file in documents_of(drop):
        if file.refused or file.size_bytes > max_bytes:
            continue
        data = read_sealed(source, file)
        if not any(word in data for word in _NAMING_MASKS):
            continue
        try:
            document = parse_json(data, max_bytes)
        except DocumentError:
            continue
        for name in _mask_names(document):
            if mask := names.find(file, name):
                masks.add(mask.key)
        every_name = every_name or FileNames((f.key for f in drop.files), drop.place.folder)
        for name in _texts(_entries(document, "images"), "file_name"):
            if key := every_name.find(name):
                images.add(key)
    return frozenset(masks - images)


def _mask_names(document: Any) -> Iterator[str]:
    entries = _entries(document, "annotations")
    yield from _texts(entries, "segmentation_file")
    yield from _texts((entry for entry in entries if is_panoptic(entry)), "file_name")


def _entries(document: Any, section: str) -> list[dict[str, Any]]:
    entries = document.get(section) if isinstance(document, dict) else None
    return [e for e in entries if isinstance(e, dict)] if isinstance(entries, list) else []


def _texts(entries: Iterable[dict[str, Any]], key: str) -> Iterator[str]:
    return (text for entry in entries if isinstance(text := entry.get(key), str))
