"""Check a COCO file whole: keep what is usable, name what is not.

A document that is malformed as such (its JSON, its ids, its paths) is refused with one finding.
A single bad image or annotation is set aside with a finding, and the rest is kept.
"""

import unicodedata
from collections.abc import Iterator, Mapping
from io import BytesIO
from typing import Any, BinaryIO

from vision.coco.entries import DocumentFacts, EntryReader
from vision.coco.findings import Finding, FindingLog, make_finding
from vision.coco.identifiers import CocoId, IdentifierError
from vision.coco.image_entries import read_identifier, read_images
from vision.coco.json_stream import WINDOW_BYTES
from vision.coco.json_text import BYTE_ORDER_MARK, DocumentError
from vision.coco.mask_files import MaskFiles, ReadFile
from vision.coco.records import CheckedDocument, CocoAnnotation, CocoImage
from vision.coco.sa1b import CATEGORIES, is_sa1b
from vision.coco.sections import Sections

__all__ = ["CheckedDocument", "CocoAnnotation", "CocoImage", "CocoReader", "check_document"]

DEFAULT_MAX_BYTES = 512 * 1024 * 1024
MAX_NAME_CHARACTERS = 256


def check_document(
    data: bytes | BinaryIO,
    file: str,
    max_bytes: int = DEFAULT_MAX_BYTES,
    sizes: Mapping[str, tuple[int, int]] | None = None,
    local: bool = True,
    read_file: ReadFile | None = None,
) -> CheckedDocument:
    """Check a COCO JSON file and rasterise its annotations.

    Args:
        data: The file: its bytes, or opened for reading bytes.
        file: Its name in the drop, for the findings.
        max_bytes: Largest file parsed.
        sizes: Width and height in pixels, after the EXIF orientation, of the image files that
            could be decoded, by `file_name`. Fills in sizes missing from the JSON, and is
            compared with the others.
        local: Whether the drop lies in a file system, where names ending in a dot or a space are
            refused.
        read_file: Gives the bytes of the mask files that the document names.

    Returns:
        The usable images, annotations and categories, and all findings. For a refused document one
        finding with the verdict `reject`, and nothing else.
    """
    opened = BytesIO(data) if isinstance(data, bytes) else data
    try:
        reader = CocoReader(opened, file, max_bytes, sizes, local, read_file)
        annotations = list(reader.annotations())
    except DocumentError as error:
        return CheckedDocument(
            findings=[make_finding(file, error.pointer, error.rule, error.value)]
        )
    findings = reader.findings()
    return CheckedDocument(
        list(reader.images.values()),
        annotations,
        reader.categories,
        findings,
        frozenset(reader.set_aside),
        reader.names_of_refused(findings),
    )


class CocoReader:
    """Reads a COCO file of any size: its annotations pass one by one and are not kept.

    Attributes:
        images: Usable images by id.
        categories: Name of each category by id.
        set_aside: Ids of images that cannot be used.
        sections: The file's own parts.
    """

    def __init__(
        self,
        data: BinaryIO,
        file: str,
        max_bytes: int = DEFAULT_MAX_BYTES,
        sizes: Mapping[str, tuple[int, int]] | None = None,
        local: bool = True,
        read_file: ReadFile | None = None,
        window_bytes: int = WINDOW_BYTES,
    ) -> None:
        """Check everything but the annotations.

        Args:
            data: The file, opened for reading bytes; it must be able to seek.
            file: Its name in the drop, for the findings.
            max_bytes: Largest file read.
            sizes: As `check_document`.
            local: As `check_document`.
            read_file: As `check_document`.
            window_bytes: How much of the file is read at once.

        Raises:
            DocumentError: The document is refused as a whole.
        """
        self._log = FindingLog(file)
        self._files = MaskFiles(read_file, local)
        self.sections = sections = Sections(data, max_bytes, window_bytes)
        if sections.has_byte_order_mark:
            self._log.add("json.byte_order_mark", "", BYTE_ORDER_MARK)
        self._names: dict[str, str] = {}
        self._is_sa1b = is_sa1b(sections.header)
        if self._is_sa1b:
            self.categories = dict(CATEGORIES)
            listed = iter([("/image", sections.header["image"])])
        else:
            self.categories = _read_categories(sections.header.get("categories"), self._log)
            if not sections.length("images"):
                raise DocumentError("document.no_images", sections.header.get("images"), "/images")
            listed = sections.entries("images")
        self.images, self.set_aside = read_images(
            self._named(listed),
            sizes or {},
            local,
            sections.damaged,
            self._log,
            "image_id" if self._is_sa1b else "id",
        )
        if "annotations" not in sections.pieces and (
            self._is_sa1b or "annotations" in sections.header
        ):
            raise DocumentError(
                "document.annotations", sections.header.get("annotations"), "/annotations"
            )

    def annotations(self) -> Iterator[CocoAnnotation]:
        """Read the annotations, those of panoptic PNGs as well, in file order. Once only.

        Yields:
            The usable ones; the findings on the others are in `findings`.

        Raises:
            DocumentError: The document is refused as a whole; what was read must be dropped.
        """
        if "annotations" in self.sections.pieces:
            reader = EntryReader(self.facts, self._log, self._files)
            for pointer, text in self.sections.texts("annotations"):
                yield from reader.read(pointer, text)

    @property
    def facts(self) -> DocumentFacts:
        """What annotations are read against, to read them elsewhere."""
        return DocumentFacts(
            self.images,
            frozenset(self.set_aside),
            self.categories,
            self.sections.repeated_ids,
            self._is_sa1b,
        )

    def findings(self) -> list[Finding]:
        """What has been found so far."""
        return self._log.findings()

    def names_of_refused(self, findings: list[Finding]) -> dict[str, str | None]:
        """The `file_name` of each image that a finding sets aside, by the finding's pointer."""
        refused = {}
        for finding in findings:
            if finding.verdict == "image":
                depth = 2 if finding.pointer.startswith("/image/") else 3
                entry = "/".join(finding.pointer.split("/")[:depth])
                refused[finding.pointer] = self._names.get(entry)
        return refused

    def _named(self, entries: Iterator[tuple[str, Any]]) -> Iterator[tuple[str, Any]]:
        """Remember the names of images as they pass."""
        for pointer, entry in entries:
            if isinstance(entry, dict) and isinstance(name := entry.get("file_name"), str):
                self._names[pointer] = name
            yield pointer, entry


def _read_categories(entries: Any, log: FindingLog) -> dict[CocoId, str]:
    if not isinstance(entries, list):
        raise DocumentError("document.no_categories", entries, "/categories")
    categories: dict[CocoId, str] = {}
    names: set[str] = set()
    for i, entry in enumerate(entries):
        pointer = f"/categories/{i}"
        if not isinstance(entry, dict):
            raise DocumentError("category.type", entry, pointer)
        try:
            category_id = read_identifier(entry, pointer, log)
        except IdentifierError as error:
            raise DocumentError("category.id", error.value, f"{pointer}/id") from None
        if category_id in categories:
            raise DocumentError("category.duplicate_id", category_id, f"{pointer}/id")
        name = entry.get("name")
        if not isinstance(name, str) or not name.strip() or len(name) > MAX_NAME_CHARACTERS:
            raise DocumentError("category.name", name, f"{pointer}/name")
        if any(unicodedata.category(c) in ("Cc", "Cf") for c in name):
            log.add("category.hidden_characters", f"{pointer}/name", ascii(name))
        if name in names:
            log.add("category.same_name", f"{pointer}/name", name)
        names.add(name)
        categories[category_id] = name
    return categories
