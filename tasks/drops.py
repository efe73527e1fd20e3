"""Find drops in an object store and seal them: which files, with which bytes, belong together."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from prefect import task
from prefect.cache_policies import NO_CACHE

from storage.errors import ObjectUnreadableError, UnsafeKeyError
from storage.lake import Lake
from storage.objects import ObjectInfo, ObjectStore, open_store
from storage.session import connect
from storage.units import unit_id
from tasks.report.data import Progress

INBOX = "inbox/"
ARCHIVE, UNSAFE = "an archive", "a name or a link that could lead out of the drop"
UNREADABLE = "an object that the store does not give"
DONE_MARKER = "_DONE"

# zip, gzip, bzip2, xz, zstd, 7z, rar
_ARCHIVES = (
    *(b"PK\x03\x04", b"PK\x05\x06", b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd"),
    *(b"7z\xbc\xaf\x27\x1c", b"Rar!\x1a\x07"),
)

_INGESTED = """
SELECT prefix, files FROM drops
WHERE drop_id IN (SELECT subject FROM units WHERE stage IN ('ingest', 'reject'))
"""


class EmptyDropError(ValueError):
    """A drop holds no file.

    Attributes:
        source: Where the drop was looked for.
    """

    def __init__(self, source: str) -> None:
        self.source = source
        super().__init__(f"no image and no JSON file at {source}")


@dataclass(frozen=True)
class DropPlace:
    """Where a drop lies: every object of the store at `root` whose key starts with `prefix`."""

    root: str
    prefix: str
    dataset: str

    @property
    def source(self) -> str:
        """The place as one readable address."""
        return f"{self.root.rstrip('/')}/{self.prefix}" if self.prefix else self.root

    @property
    def folder(self) -> str:
        """The part of the prefix that file names in the drop leave out."""
        return self.prefix[: self.prefix.rfind("/") + 1]


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
        """A file's path inside the drop."""
        return key[len(self.place.folder) :]


def list_drop(place: DropPlace) -> list[ObjectInfo]:
    """The drop's files by key; markers, hidden files and folder placeholders are none."""
    found = []
    for info in open_store(place.root).list(place.prefix):
        parts = info.key[len(place.folder) :].split("/")
        hidden = any(part.startswith(".") for part in parts)
        # A single file is named whole; another one's name may begin with its.
        other = bool(place.prefix) and place.folder != place.prefix and info.key != place.prefix
        if not hidden and not other and parts[-1] not in ("", DONE_MARKER):
            found.append(info)
    return found


def is_complete(files: Iterable[ObjectInfo], done: bool, quiet_seconds: float) -> bool:
    """Whether nobody is still writing: it is marked done, or nothing changed for a while."""
    if done:
        return True
    newest = max((info.modified_at for info in files), default=None)
    return newest is not None and datetime.now(UTC) - newest >= timedelta(seconds=quiet_seconds)


def place_of(source: str, dataset: str) -> DropPlace:
    """The place of a drop outside the inbox: a folder, one local file, or `s3://bucket/prefix`."""
    path = Path(source)
    if "://" not in source and path.is_file():
        return DropPlace(str(path.parent.resolve()), path.name, dataset)
    root = source if "://" in source else str(path.resolve())
    return DropPlace(root, "", dataset)


@dataclass(frozen=True)
class InboxDrops:
    """The drops in the inbox that are not ingested.

    Attributes:
        complete: Those that can be taken in, by name.
        uploading: Those that somebody may still be writing.
    """

    complete: list[DropPlace]
    uploading: list[DropPlace]


@task(name="find-drops", cache_policy=NO_CACHE, retries=2, retry_delay_seconds=5)
def find_drops(root: str, dataset: str, quiet_seconds: float) -> list[DropPlace]:
    """The complete drops in the inbox that are not ingested yet, by name.

    Args:
        root: The data root, a folder or `s3://bucket/prefix`.
        dataset: The dataset these drops will belong to.
        quiet_seconds: Without a `_DONE` object, how long nothing must have changed.
    """
    return survey_inbox(root, dataset, quiet_seconds).complete


def survey_inbox(root: str, dataset: str, quiet_seconds: float) -> InboxDrops:
    """What waits in the inbox; the arguments are those of `find_drops`."""
    by_drop: dict[str, list[ObjectInfo]] = {}
    for info in open_store(root).list(INBOX):
        name, slash, _ = info.key[len(INBOX) :].partition("/")
        if slash:
            by_drop.setdefault(f"{INBOX}{name}/", []).append(info)
    known = _ingested_listings(Lake.open(root))
    found = InboxDrops([], [])
    for prefix, files in sorted(by_drop.items()):
        place = DropPlace(root=root, prefix=prefix, dataset=dataset)
        done = any(info.key == prefix + DONE_MARKER for info in files)
        if not is_complete(files, done, quiet_seconds):
            found.uploading.append(place)
            continue
        listing = _listing(list_drop(place))
        if listing and listing not in known.get(prefix, ()):
            found.complete.append(place)
    return found


def read_drop(place: DropPlace, progress: Progress | None = None) -> SealedDrop:
    """Hash every file of a drop, so that its content is fixed.

    Raises:
        EmptyDropError: If there is no file.
        ObjectUnreadableError: If no file at all can be read.
    """
    store = open_store(place.root)
    infos = list_drop(place)
    if not infos:
        raise EmptyDropError(place.source)
    files = []
    for done, info in enumerate(infos, start=1):
        files.append(_seal_file(store, info))
        if progress:
            progress("seal", done, len(infos))
    if all(file.refused == UNREADABLE for file in files):
        # Not the files are wrong, but the rights: once they are mended, the drop is read again.
        raise ObjectUnreadableError(files[0].key, place.root, files[0].reason)
    names = sorted((file.key[len(place.folder) :], file.sha256) for file in files)
    content = "".join(f"{name}\0{sha256}\n" for name, sha256 in names)
    return SealedDrop(hashlib.sha256(content.encode()).hexdigest(), place, tuple(files))


def _seal_file(store: ObjectStore, info: ObjectInfo) -> DropFile:
    known = (info.key, info.size_bytes, info.version)
    try:
        data = store.read(info.key)
    except UnsafeKeyError as error:
        sha256 = hashlib.sha256(UNSAFE.encode()).hexdigest()
        return DropFile(*known, sha256, refused=UNSAFE, reason=error.reason)
    except ObjectUnreadableError as error:
        sha256 = hashlib.sha256(UNREADABLE.encode()).hexdigest()
        return DropFile(*known, sha256, refused=UNREADABLE, reason=error.reason)
    # A packed JSON file is refused as such, with a rule of its own.
    packed = _is_archive(data) and not info.key.lower().endswith(".json")
    sha256 = hashlib.sha256(data).hexdigest()
    return DropFile(*known, sha256, refused=ARCHIVE if packed else None)


def _is_archive(data: bytes) -> bool:
    return data.startswith(_ARCHIVES) or data[257:262] == b"ustar"


@task(name="seal-drop", cache_policy=NO_CACHE, retries=2, retry_delay_seconds=5)
def seal_drop(root: str, place: DropPlace, progress: Progress | None = None) -> SealedDrop:
    """Fix a drop's content and record the list of its files in `drops`.

    Raises:
        EmptyDropError: If there is no file.
    """
    drop = read_drop(place, progress)
    _record(Lake.open(root), drop)
    return drop


def _record(lake: Lake, drop: SealedDrop) -> None:
    files = [
        # What could not be read is known by no version: every sweep tries it again.
        {
            "key": file.key,
            "size_bytes": file.size_bytes,
            "version": "" if file.refused == UNREADABLE else file.version,
        }
        for file in drop.files
    ]
    row = {
        "drop_id": drop.drop_id,
        "dataset": drop.place.dataset,
        "prefix": drop.place.prefix or drop.place.source,
        "sealed_at": datetime.now(UTC),
        "objects": len(files),
        "bytes": sum(file.size_bytes for file in drop.files),
        "files": files,
    }
    # The listing is part of the id: the same content under new versions is recorded again, so
    # that the next sweep knows it without reading a byte.
    versions = (f"{file.key}\0{file.version}" for file in drop.files)
    seal = unit_id("seal", versions, drop_id=drop.drop_id, dataset=drop.place.dataset)
    lake.append("drops", [row], seal)


def _ingested_listings(lake: Lake) -> dict[str, set[tuple[tuple[str, int, str], ...]]]:
    """The listings, by prefix, of the sealed drops that are ingested."""
    with connect(lake) as session:
        rows = session.execute(_INGESTED).fetchall()
    known: dict[str, set[tuple[tuple[str, int, str], ...]]] = {}
    for prefix, files in rows:
        listing = tuple((file["key"], file["size_bytes"], file["version"]) for file in files)
        known.setdefault(prefix, set()).add(listing)
    return known


def _listing(files: Iterable[ObjectInfo]) -> tuple[tuple[str, int, str], ...]:
    return tuple((info.key, info.size_bytes, info.version) for info in files)
