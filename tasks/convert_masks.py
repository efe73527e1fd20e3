"""Turn one COCO file into mask PNGs in a folder, with no drop, no tables and no images.

The file is read in pieces by several processes. Nearly every mask goes straight from its JSON text
to its PNG; the rest is checked in full, and refused by name where it has no mask.
"""

import errno
import hashlib
import os
import signal
import sys
from collections import deque
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor
from concurrent.futures import wait as first_of
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Self

from tasks.exports.folder import whole_folder
from tasks.mask_names import slug
from tasks.report.data import Progress
from vision.coco import CocoReader, DocumentError, Finding, make_finding
from vision.coco.entries import DocumentFacts, EntryReader
from vision.coco.findings import FindingLog
from vision.coco.identifiers import CocoId
from vision.coco.mask_files import MAX_FILE_BYTES, MaskFileError, MaskFiles
from vision.coco.quick_masks import quick_mask
from vision.coco.sections import Piece, texts_of
from vision.masks import BitDepth, expect_masks, rle_to_png, runs_to_png

# Small enough to keep some processes evenly busy, large enough to be worth a message.
_PIECE_BYTES = 2**20
# Pieces a process has at hand, so that it need not wait for this one to hand it the next.
_PIECES_AHEAD = 2


class ConversionDiedError(RuntimeError):
    """A process was killed, as happens where memory runs out.

    Attributes:
        document: The COCO file.
    """

    def __init__(self, document: Path) -> None:
        self.document = document
        super().__init__(
            f"a process that converted {document} was killed, perhaps for want of memory; "
            "nothing was written; try again with fewer processes"
        )


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
    progress: Progress | None = None,
) -> MaskConversion:
    """Write the mask of each annotation of a COCO file to `{image id}_{annotation id}.png`.

    Args:
        document: The COCO file.
        folder: Where the masks go, new or empty; it appears when all are written.
        processes: How many work at once, this one included.
        bit_depth: Bits of a pixel: 1, or 8 for readers that need 0 and 255 as bytes.
        progress: Told after each piece of the file.

    Raises:
        OutputFolderError: There is something else at `folder`.
        OSError: The file cannot be read, or a mask cannot be written.
        ConversionDiedError: A process was killed.
    """
    result = MaskConversion()
    done = 0
    try:
        with document.open("rb") as file, whole_folder(folder, overwrite=False) as unfinished:
            reader = CocoReader(file, document.name, sys.maxsize, window_bytes=_PIECE_BYTES)
            result.findings += [f for f in reader.findings() if f.verdict != "note"]
            pieces = reader.sections.pieces.get("annotations", [])
            total = sum(piece.count for piece in pieces)
            job = _Job(document, unfinished, bit_depth, reader.facts, total // processes)
            findings = {}
            for piece, part in _convert_pieces(job, pieces, processes):
                result.written += part.written
                findings[piece.first] = part.findings
                done += piece.count
                if progress:
                    progress("masks", done, total)
            for _, found in sorted(findings.items()):
                result.findings += found
    except DocumentError as error:
        refused = make_finding(document.name, error.pointer, error.rule, error.value)
        return MaskConversion(findings=[refused], rejected=True)
    except BrokenProcessPool:
        raise ConversionDiedError(document) from None
    return result


@dataclass(frozen=True)
class _Job:
    """What every process has to know."""

    document: Path
    folder: Path
    bit_depth: BitDepth
    facts: DocumentFacts
    masks: int


class _Converter:
    """Writes masks in one process."""

    def __init__(self, job: _Job) -> None:
        self._job = job
        self._log = FindingLog(job.document.name)
        self._reader = EntryReader(job.facts, self._log, MaskFiles(self._mask_file))
        self._sizes = {image.id: (image.height, image.width) for image in job.facts.images.values()}
        self._file = job.document.open("rb")
        expect_masks(job.masks)

    def convert(self, piece: Piece) -> MaskConversion:
        """Write the masks of some annotations.

        Raises:
            DocumentError: The document is refused as a whole.
        """
        facts, bit_depth, written = self._job.facts, self._job.bit_depth, 0
        for pointer, text in texts_of(self._file, "annotations", piece):
            mask = quick_mask(text, self._sizes, facts.categories)
            if mask and mask.annotation_id not in facts.repeated_ids:
                png = runs_to_png(mask.runs, mask.height, mask.width, bit_depth)
                self._write(mask.image_id, mask.annotation_id, png)
                written += 1
                continue
            for found in self._reader.read(pointer, text):
                png = rle_to_png(found.rle, *self._sizes[found.image_id], bit_depth)
                self._write(found.image_id, found.id, png)
                written += 1
        return MaskConversion(written, self._log.take_grave())

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _mask_file(self, name: str) -> bytes:
        """A mask that the document names, beside it."""
        path = self._job.document.parent / name
        if not path.is_file():
            raise MaskFileError("mask_file.missing", name)
        if (size_bytes := path.stat().st_size) > MAX_FILE_BYTES:
            raise MaskFileError("mask_file.too_large", f"{size_bytes} bytes")
        return path.read_bytes()

    def _write(self, image_id: CocoId, annotation_id: CocoId, png: bytes) -> None:
        path = f"{self._job.folder}/{_plain(image_id)}_{_plain(annotation_id)}.png"
        # A third of the time of `open`, which tells with so many files.
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        try:
            if os.write(file, png) != len(png):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
        finally:
            os.close(file)


def _plain(coco_id: CocoId) -> str:
    if isinstance(coco_id, int):
        return f"{coco_id:012d}"
    # Two texts may look alike once they are fit for a file name.
    return f"{slug(coco_id)}-{hashlib.sha256(coco_id.encode()).hexdigest()[:32]}"


def _convert_pieces(
    job: _Job, pieces: list[Piece], processes: int
) -> Iterator[tuple[Piece, MaskConversion]]:
    """Convert all pieces, here and in further processes, as each gets round to it."""
    left = deque(pieces)
    with _Processes(job, min(processes, len(pieces)) - 1) as others:
        others.take(left)  # so that they start while this one does
        with closing(_Converter(job)) as here:
            while left:
                piece = left.popleft()
                yield piece, here.convert(piece)
                yield from others.results(wait=False)
                others.take(left)
        while others.converting:
            yield from others.results(wait=True)


class _Processes:
    """Other processes that convert pieces.

    Attributes:
        converting: Whether they have any.
    """

    def __init__(self, job: _Job, count: int) -> None:
        self._pool = (
            ProcessPoolExecutor(count, get_context("spawn"), _start_process, (job,))
            if count > 0
            else None
        )
        self._most = _PIECES_AHEAD * count
        self._futures: dict[Future[MaskConversion], Piece] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool:
            self._pool.shutdown(cancel_futures=True)

    @property
    def converting(self) -> bool:
        return bool(self._futures)

    def take(self, left: deque[Piece]) -> None:
        """Take pieces so that none of the processes has to wait for one."""
        while self._pool and left and len(self._futures) < self._most:
            piece = left.popleft()
            self._futures[self._pool.submit(_convert_in_process, piece)] = piece

    def results(self, wait: bool) -> Iterator[tuple[Piece, MaskConversion]]:
        """Hand over what is converted; wait until there is something."""
        if wait:
            first_of(self._futures, return_when=FIRST_COMPLETED)
        for future in [future for future in self._futures if future.done()]:
            yield self._futures.pop(future), future.result()


_converter: _Converter
"""Of a process that `_convert_pieces` started."""


def _start_process(job: _Job) -> None:
    global _converter
    # Ctrl-C is for the parent, which then ends the others.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _converter = _Converter(job)


def _convert_in_process(piece: Piece) -> MaskConversion:
    return _converter.convert(piece)
