"""Seal drops: read every byte once, so that it is fixed what belongs to each of them."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE

from storage.errors import ObjectNotFoundError, ObjectUnreadableError, UnsafeKeyError
from storage.lake import Lake
from storage.objects import ObjectInfo, ObjectStore, open_store
from storage.objects.ahead import ahead
from storage.objects.keys import printable
from storage.units import unit_id
from tasks.drops import DropPlace, FoundDrop, list_drop
from tasks.report.data import Progress

ARCHIVE, UNSAFE = "an archive", "a name or a link that could lead out of the drop"
UNREADABLE = "an object that the store does not give"

# zip, gzip, bzip2, xz, zstd, 7z, rar
_ARCHIVES = (
    *(b"PK\x03\x04", b"PK\x05\x06", b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd"),
    *(b"7z\xbc\xaf\x27\x1c", b"Rar!\x1a\x07"),
)
_START_BYTES = 512  # tell them all; a tar file has its mark at 257


class EmptyDropError(ValueError):
    """A drop holds no file.

    Attributes:
        source: Where the drop was looked for.
    """

    def __init__(self, source: str) -> None:
        self.source = source
        super().__init__(f"no image and no JSON file at {source}")


class DropChangedError(RuntimeError):
    """A file was overwritten or removed after its drop was listed or sealed.

    Sealing again takes what is there then.

    Attributes:
        key: The file.
    """

    def __init__(self, key: str) -> None:
        self.key = key
        super().__init__(f"{key} changed after its drop was sealed; run the command again")


@dataclass(frozen=True)
class DropFile:
    """One file of a sealed drop.

    Attributes:
        key: Its key in the store.
        size_bytes: Its size.
        version: Changes whenever it is written.
        sha256: Of what it held when the drop was sealed.
        refused: What it is, if its bytes are not looked at: `ARCHIVE`, `UNSAFE` or `UNREADABLE`.
        reason: Why they are not, in the store's words.
    """

    key: str
    size_bytes: int
    version: str
    sha256: str
    refused: str | None = None
    reason: str = ""


@dataclass(frozen=True)
class SealedDrop:
    """A drop whose content is fixed: the same bytes under the same names have the same id."""

    drop_id: str
    place: DropPlace
    files: tuple[DropFile, ...]

    def relative(self, key: str) -> str:
        """A file's path inside the drop, as findings name it."""
        return printable(key[len(self.place.folder) :])


@dataclass(frozen=True)
class FailedDrop:
    """A drop that could not be sealed or taken in, and why."""

    place: DropPlace
    reason: str


@dataclass(frozen=True)
class SealedDrops:
    """What became of drops that were to be sealed.

    Attributes:
        drops: Those that are sealed.
        failed: Those that are not.
    """

    drops: list[SealedDrop]
    failed: list[FailedDrop]


@task(name="seal-drops", cache_policy=NO_CACHE, retries=2, retry_delay_seconds=5)
def seal_drops(
    root: str, found: Sequence[FoundDrop], progress: Progress | None = None
) -> SealedDrops:
    """Fix the content of drops, and record the lists of their files in `drops`, in one commit.

    Those that may not be looked into have failed.

    Args:
        root: The data root.
        found: The drops.
        progress: Told after each file.

    Raises:
        EmptyDropError: If a drop has no file.
    """
    sealed = []
    failed = [FailedDrop(drop.place, drop.problem) for drop in found if drop.problem]
    for drop, outcome in _read_drops([drop for drop in found if not drop.problem], progress):
        if isinstance(outcome, SealedDrop):
            sealed.append(outcome)
        else:
            failed.append(FailedDrop(drop.place, printable(str(outcome))))
    _record(Lake.open(root), sealed)
    return SealedDrops(sealed, failed)


def seal_again(root: str, drop: SealedDrop) -> SealedDrop:
    """Seal a drop as it is now.

    Raises:
        DropChangedError: If it changes still.
        ObjectUnreadableError: If no file at all can be read.
        EmptyDropError: If there is no file any more.
    """
    again = read_drop(drop.place)
    _record(Lake.open(root), [again])
    return again


def read_drop(place: DropPlace, progress: Progress | None = None) -> SealedDrop:
    """Hash every file of a drop, so that its content is fixed; nothing is recorded.

    Raises:
        EmptyDropError: If there is no file.
        ObjectUnreadableError: If no file at all can be read.
        DropChangedError: If a file vanishes meanwhile.
    """
    return read_found(list_drop(place), progress)


def read_found(found: FoundDrop, progress: Progress | None = None) -> SealedDrop:
    """As `read_drop`, of a drop that is listed already."""
    ((_, outcome),) = _read_drops([found], progress)
    if isinstance(outcome, SealedDrop):
        return outcome
    raise outcome


Outcome = SealedDrop | ObjectUnreadableError | DropChangedError


def _read_drops(
    found: Sequence[FoundDrop], progress: Progress | None
) -> Iterator[tuple[FoundDrop, Outcome]]:
    """Hash the files of drops, some at once and across their borders."""
    for drop in found:
        if not drop.files:
            raise EmptyDropError(drop.place.source)
    stores = {root: open_store(root) for root in {drop.place.root for drop in found}}
    total = sum(len(drop.files) for drop in found)
    pairs = ((drop, info) for drop in found for info in drop.files)

    def seal(pair: tuple[FoundDrop, ObjectInfo]) -> DropFile | DropChangedError:
        drop, info = pair
        try:
            return _seal_file(stores[drop.place.root], info)
        except ObjectNotFoundError:
            return DropChangedError(info.key)

    files: list[DropFile | DropChangedError] = []
    for done, ((drop, _), future) in enumerate(ahead(pairs, seal), start=1):
        files.append(future.result())
        if progress:
            progress("seal", done, total)
        if len(files) == len(drop.files):
            yield drop, _sealed(drop.place, files)
            files = []


def _sealed(place: DropPlace, found: Iterable[DropFile | DropChangedError]) -> Outcome:
    files = []
    for file in found:
        if isinstance(file, DropChangedError):
            return file
        files.append(file)
    if all(file.refused == UNREADABLE for file in files):
        # Not the files are wrong, but the rights: once they are mended, the drop is read again.
        return ObjectUnreadableError(files[0].key, place.root, files[0].reason)
    names = sorted((printable(file.key[len(place.folder) :]), file.sha256) for file in files)
    content = "".join(f"{name}\0{sha256}\n" for name, sha256 in names)
    return SealedDrop(hashlib.sha256(content.encode()).hexdigest(), place, tuple(files))


def _seal_file(store: ObjectStore, info: ObjectInfo) -> DropFile:
    known = (info.key, info.size_bytes, info.version)
    digest, start = hashlib.sha256(), b""
    try:
        # A drop may hold anything, films too: no file is in memory as a whole.
        for chunk in store.read_chunks(info.key):
            digest.update(chunk)
            start = start or chunk[:_START_BYTES]
    except UnsafeKeyError as error:
        sha256 = hashlib.sha256(UNSAFE.encode()).hexdigest()
        return DropFile(*known, sha256, refused=UNSAFE, reason=error.reason)
    except ObjectUnreadableError as error:
        sha256 = hashlib.sha256(UNREADABLE.encode()).hexdigest()
        return DropFile(*known, sha256, refused=UNREADABLE, reason=error.reason)
    # A packed JSON file is refused as such, with a rule of its own.
    packed = _is_archive(start) and not info.key.lower().endswith(".json")
    return DropFile(*known, digest.hexdigest(), refused=ARCHIVE if packed else None)


def _is_archive(start: bytes) -> bool:
    return start.startswith(_ARCHIVES) or start[257:262] == b"ustar"


def _record(lake: Lake, drops: Iterable[SealedDrop]) -> None:
    now = datetime.now(UTC)
    # The listing is part of the id: the same content under new versions is recorded again, so
    # that the next sweep knows it without reading a byte.
    lake.append_units("drops", {_seal_unit(drop): [_row(drop, now)] for drop in drops})


def _seal_unit(drop: SealedDrop) -> str:
    versions = (f"{file.key}\0{file.version}" for file in drop.files)
    return unit_id("seal", versions, drop_id=drop.drop_id, dataset=drop.place.dataset)


def _row(drop: SealedDrop, now: datetime) -> dict[str, Any]:
    files = [
        # What could not be read is known by no version: every sweep tries it again.
        {
            "key": printable(file.key),
            "size_bytes": file.size_bytes,
            "version": "" if file.refused == UNREADABLE else file.version,
        }
        for file in drop.files
    ]
    return {
        "drop_id": drop.drop_id,
        "dataset": drop.place.dataset,
        "prefix": drop.place.name,
        "sealed_at": now,
        "objects": len(files),
        "bytes": sum(file.size_bytes for file in drop.files),
        "files": files,
    }
