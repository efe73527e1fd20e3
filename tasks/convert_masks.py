"""Turn one COCO file into mask PNGs in a folder, with no drop, no tables and no images.

The file is read in pieces by several processes. Nearly every mask goes straight from its JSON text
to its PNG; the rest is checked in full, and refused by name where it has no mask.
"""

import errno
import hashlib
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from functools import cached_property
from multiprocessing import get_context
from pathlib import Path

from tasks.mask_names import slug
from tasks.report.data import Progress
from vision.coco import CocoReader, DocumentError, Finding, make_finding
from vision.coco.identifiers import CocoId
from vision.coco.quick_masks import quick_mask
from vision.coco.sections import Piece, texts_of
from vision.masks import BitDepth, expect_masks, rle_to_png, runs_to_png

# Small enough to keep some processes evenly busy, large enough to be worth a message.
_PIECE_BYTES = 2**20


@dataclass
class MaskConversion:
    """What became of a COCO file, or of a part of it.

    Attributes:
        written: Masks written.
        findings: What is wrong with the other annotations, and with images.
        rejected: Whether the whole file was refused.
    """

    written: int = 0
    findings: list[Finding] = field(default_factory=list)
    rejected: bool = False


def convert_masks(
    document: Path,
    folder: Path,
    *,
    processes: int,
    bit_depth: BitDepth = 1,
    max_json_bytes: int,
    progress: Progress | None = None,
) -> MaskConversion:
    """Write the mask of each annotation of a COCO file to `{image id}_{annotation id}.png`.

    Masks that are there already are written again: the same file gives the same bytes.

    Args:
        document: The COCO file.
        folder: Where the masks go; it is made if need be.
        processes: How many work at once; with 1, this one does.
        bit_depth: Bits of a pixel: 1, or 8 for readers that need 0 and 255 as bytes.
        max_json_bytes: Largest file read.
        progress: Told after each piece of the file.

    Raises:
        OSError: The file cannot be read, or a mask cannot be written.
    """
    result = MaskConversion()
    done = 0
    try:
        with document.open("rb") as file:
            reader = CocoReader(file, document.name, max_json_bytes, window_bytes=_PIECE_BYTES)
            result.findings += _grave(reader.findings())
            pieces = reader.sections.pieces.get("annotations", [])
            total = sum(piece.count for piece in pieces)
            folder.mkdir(parents=True, exist_ok=True)
            job = _Job(
                document=document,
                folder=folder,
                bit_depth=bit_depth,
                max_json_bytes=max_json_bytes,
                sizes={image.id: (image.height, image.width) for image in reader.images.values()},
                categories=frozenset(reader.categories),
                repeated_ids=reader.sections.repeated_ids,
                masks=total // processes,
            )
            for piece, part in _convert_pieces(job, pieces, processes):
                result.written += part.written
                result.findings += part.findings
                done += piece.count
                if progress:
                    progress("masks", done, total)
    except DocumentError as error:
        refused = make_finding(document.name, error.pointer, error.rule, error.value)
        return MaskConversion(result.written, [refused], rejected=True)
    return result


@dataclass(frozen=True)
class _Job:
    """What every process has to know."""

    document: Path
    folder: Path
    bit_depth: BitDepth
    max_json_bytes: int
    sizes: dict[CocoId, tuple[int, int]]
    categories: frozenset[CocoId]
    repeated_ids: frozenset[CocoId]
    masks: int


class _Converter:
    """Writes masks in one process."""

    def __init__(self, job: _Job) -> None:
        self._job = job
        self._file = job.document.open("rb")
        expect_masks(job.masks)

    def convert(self, piece: Piece) -> MaskConversion:
        """Write the masks of some annotations.

        Raises:
            DocumentError: The document is refused as a whole.
        """
        result, job = MaskConversion(), self._job
        for index, text in enumerate(texts_of(self._file, piece), start=piece.first):
            data = bytes(text)
            mask = quick_mask(data, job.sizes, job.categories)
            if mask is None or mask.annotation_id in job.repeated_ids:
                self._check(f"/annotations/{index}", data, result)
                continue
            png = runs_to_png(mask.runs, mask.height, mask.width, job.bit_depth)
            self._write(mask.image_id, mask.annotation_id, png)
            result.written += 1
        return result

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    @cached_property
    def _reader(self) -> CocoReader:
        return CocoReader(self._file, self._job.document.name, self._job.max_json_bytes)

    def _check(self, pointer: str, text: bytes, result: MaskConversion) -> None:
        """Write the mask of an annotation after the full check, or say what is wrong."""
        known = len(_grave(self._reader.findings()))
        for found in self._reader.read(*self._reader.sections.parse(pointer, text)):
            png = rle_to_png(found.rle, *self._job.sizes[found.image_id], self._job.bit_depth)
            self._write(found.image_id, found.id, png)
            result.written += 1
        result.findings += _grave(self._reader.findings())[known:]

    def _write(self, image_id: CocoId, annotation_id: CocoId, png: bytes) -> None:
        path = f"{self._job.folder}/{_plain(image_id)}_{_plain(annotation_id)}.png"
        # A third of the time of `open`, which tells with so many files.
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        try:
            if os.write(file, png) != len(png):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
        finally:
            os.close(file)


def _grave(findings: list[Finding]) -> list[Finding]:
    return [finding for finding in findings if finding.verdict != "note"]


def _plain(coco_id: CocoId) -> str:
    if isinstance(coco_id, int):
        return f"{coco_id:012d}"
    # Two texts may look alike once they are fit for a file name.
    return f"{slug(coco_id)}-{hashlib.sha256(coco_id.encode()).hexdigest()[:8]}"


def _convert_pieces(
    job: _Job, pieces: list[Piece], processes: int
) -> Iterator[tuple[Piece, MaskConversion]]:
    """Convert all pieces, here or in other processes, in their order."""
    if processes == 1 or len(pieces) < 2:
        with closing(_Converter(job)) as converter:
            for piece in pieces:
                yield piece, converter.convert(piece)
        return
    with ProcessPoolExecutor(processes, get_context("spawn"), _start_process, (job,)) as pool:
        yield from zip(pieces, pool.map(_convert_in_process, pieces), strict=True)


_converter: _Converter
"""Of a process that `_convert_pieces` started."""


def _start_process(job: _Job) -> None:
    global _converter
    _converter = _Converter(job)


def _convert_in_process(piece: Piece) -> MaskConversion:
    return _converter.convert(piece)
