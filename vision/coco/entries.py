"""Read entries of `annotations`, whatever kind of document they are from."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from vision.coco.annotations import AnnotationReader
from vision.coco.findings import FindingLog
from vision.coco.identifiers import CocoId
from vision.coco.json_text import not_finite, parse_value
from vision.coco.mask_files import MaskFiles
from vision.coco.panoptic import is_panoptic, read_panoptic
from vision.coco.records import CocoAnnotation, CocoImage
from vision.coco.repeated_ids import RepeatedIds
from vision.coco.sa1b import completed


@dataclass(frozen=True)
class DocumentFacts:
    """What the entries of `annotations` are read against.

    Attributes:
        images: Usable images by id.
        set_aside: Ids of images that cannot be used.
        categories: Name of each category by id.
        repeated_ids: Ids that more than one annotation has.
        is_sa1b: Whether the document is SA-1B's, with one image that no entry names.
    """

    images: Mapping[CocoId, CocoImage]
    set_aside: frozenset[CocoId]
    categories: Mapping[CocoId, str]
    repeated_ids: RepeatedIds
    is_sa1b: bool


class EntryReader:
    """Reads annotations one by one."""

    def __init__(self, facts: DocumentFacts, log: FindingLog, files: MaskFiles) -> None:
        """Prepare to read.

        Args:
            facts: What the document says beside its annotations.
            log: Receives the findings.
            files: The mask files beside the document.
        """
        self._facts = facts
        self._log = log
        self._files = files
        self._damaged: dict[str, tuple[str, float]] = {}
        self._image_id = next(iter(facts.images), 0)
        # Entries of SA-1B name no image. Without a usable one, its id is one set aside.
        nameless = facts.is_sa1b and not facts.images
        self._reader = AnnotationReader(
            facts.images,
            {self._image_id} if nameless else facts.set_aside,
            facts.categories,
            self._damaged,
            log,
            files,
        )

    def read(self, pointer: str, text: bytes) -> Iterable[CocoAnnotation]:
        """Read one entry; what is wrong with it goes to the log.

        Args:
            pointer: JSON pointer to it.
            text: Its JSON text.

        Raises:
            DocumentError: The document is refused as a whole.
        """
        self._damaged.clear()
        entry: Any = parse_value(text, pointer)
        if found := next(not_finite(entry, text, pointer), None):
            self._damaged[pointer] = found
        if self._facts.is_sa1b:
            entry = completed(entry, self._image_id)
        elif is_panoptic(entry):
            return read_panoptic(pointer, entry, self._reader, self._files, self._log)
        return self._reader.read(
            [(pointer, entry)], self._facts.repeated_ids, rle_is_usual=self._facts.is_sa1b
        )
