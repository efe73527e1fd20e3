"""Find drops in an object store: which files belong together, and whether anybody writes them."""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from prefect import task
from prefect.cache_policies import NO_CACHE

from storage.errors import ObjectUnreadableError, UnsafeKeyError
from storage.lake import Lake
from storage.objects import ObjectInfo, open_store
from storage.objects.ahead import ahead
from storage.objects.keys import printable
from storage.session import connect
from tasks.drop_units import Limits, intake_unit, refusal_unit

INBOX = "inbox/"
DONE_MARKER = "_DONE"

# A listing is no picture of one moment: it may have passed where a file came to be before the
# marker did. What changed so long before it is not affected.
_SETTLED = timedelta(seconds=60)

_Listing = tuple[tuple[str, int, str], ...]

_FINISHED = """
SELECT drop_id, drops.dataset, prefix, files, unit_id
FROM drops JOIN units ON subject = drop_id
WHERE stage IN ('ingest', 'reject')
"""


@dataclass(frozen=True)
class DropPlace:
    """Where a drop lies: every object of the store at `root` whose key starts with `prefix`."""

    root: str
    prefix: str
    dataset: str

    @property
    def source(self) -> str:
        """The place as one readable address."""
        whole = f"{self.root.rstrip('/')}/{self.prefix}" if self.prefix else self.root
        return printable(whole)

    @property
    def name(self) -> str:
        """What tables and messages call it: the prefix, or without one the address."""
        return printable(self.prefix) or self.source

    @property
    def folder(self) -> str:
        """The part of the prefix that file names in the drop leave out."""
        return self.prefix[: self.prefix.rfind("/") + 1]


@dataclass(frozen=True)
class FoundDrop:
    """A drop as the store lists it, before any of its bytes were read.

    Attributes:
        place: Where it lies.
        files: Its files by key, without markers and hidden files.
        problem: Why it may not be looked into; nothing is known of its files then.
    """

    place: DropPlace
    files: tuple[ObjectInfo, ...]
    problem: str = ""


def list_drop(place: DropPlace) -> FoundDrop:
    """List one drop; it may turn out to have no files.

    Raises:
        ObjectUnreadableError: If a folder of it may not be looked into.
    """

    def refuse(error: ObjectUnreadableError) -> None:
        if not _is_hidden(error.key[len(place.folder) :]):
            raise error

    return FoundDrop(place, files_of(place, open_store(place.root).list(place.prefix, refuse)))


def files_of(place: DropPlace, listed: Iterable[ObjectInfo]) -> tuple[ObjectInfo, ...]:
    """The drop's files among listed objects; markers, hidden files and folders are none."""
    found = []
    for info in listed:
        path = info.key[len(place.folder) :]
        # A single file is named whole; another one's name may begin with its.
        other = bool(place.prefix) and place.folder != place.prefix and info.key != place.prefix
        if not _is_hidden(path) and not other and path.split("/")[-1] not in ("", DONE_MARKER):
            found.append(info)
    return tuple(found)


def _is_hidden(path: str) -> bool:
    return any(part.startswith(".") for part in path.split("/"))


def place_of(source: str, dataset: str) -> DropPlace:
    """The place of a drop outside the inbox: a folder, one local file, or `s3://bucket/prefix`."""
    path = Path(source)
    if "://" not in source and path.is_file():
        return DropPlace(str(path.parent.resolve()), path.name, dataset)
    root = source if "://" in source else str(path.resolve())
    return DropPlace(root, "", dataset)


@dataclass(frozen=True)
class InboxDrops:
    """The drops in the inbox that are neither ingested nor refused with these limits.

    Attributes:
        complete: Those that can be taken in, by name.
        uploading: Those that somebody may still be writing.
        unreadable: Those that may not be looked into, of which it is not known what they are.
    """

    complete: list[FoundDrop]
    uploading: list[DropPlace]
    unreadable: list[FoundDrop]


@task(name="find-drops", cache_policy=NO_CACHE, retries=2, retry_delay_seconds=5)
def find_drops(root: str, dataset: str, quiet_seconds: float, limits: Limits) -> list[FoundDrop]:
    """The complete drops in the inbox that `ingest_drops` has not looked at yet, by name.

    The unreadable ones come last.

    Args:
        root: The data root, a folder or `s3://bucket/prefix`.
        dataset: The dataset these drops will belong to.
        quiet_seconds: Without a `_DONE` object, how long nothing must have changed.
        limits: The largest files that are taken in. What was refused with others is looked at
            again.
    """
    inbox = survey_inbox(root, dataset, quiet_seconds, limits)
    return inbox.complete + inbox.unreadable


def survey_inbox(root: str, dataset: str, quiet_seconds: float, limits: Limits) -> InboxDrops:
    """What waits in the inbox; the arguments are those of `find_drops`."""
    store, began = open_store(root), datetime.now(UTC)
    listed: dict[str, list[ObjectInfo]] = {}
    unreadable: dict[str, str] = {}

    def leave_out(error: ObjectUnreadableError) -> None:
        name, slash, below = error.key[len(INBOX) :].partition("/")
        if not slash:
            raise error  # the inbox itself
        if not _is_hidden(below):
            unreadable[f"{INBOX}{name}/"] = printable(str(error))

    for info in store.list(INBOX, leave_out):
        name, slash, _ = info.key[len(INBOX) :].partition("/")
        if slash:
            listed.setdefault(f"{INBOX}{name}/", []).append(info)
    places = {prefix: DropPlace(root=root, prefix=prefix, dataset=dataset) for prefix in listed}
    known = _known_listings(Lake.open(root), limits)
    new = {
        prefix: infos
        for prefix, infos in listed.items()
        if _listing(files_of(places[prefix], infos)) not in known.get(places[prefix].name, ())
    }
    changing = [
        prefix
        for prefix, infos in new.items()
        if _is_complete(prefix, infos, quiet_seconds) and began - _changed_at(infos) < _SETTLED
    ]
    for prefix, again in ahead(changing, lambda prefix: [*store.list(prefix, leave_out)]):
        # None of its files can be read under such a name: what is listed of them is refused.
        with suppress(UnsafeKeyError):
            new[prefix] = again.result()
    hidden = [
        FoundDrop(DropPlace(root, prefix, dataset), (), problem)
        for prefix, problem in sorted(unreadable.items())
    ]
    found = InboxDrops([], [], hidden)
    for prefix, infos in sorted(new.items()):
        if prefix in unreadable:
            continue
        files = files_of(places[prefix], infos)
        if not _is_complete(prefix, infos, quiet_seconds):
            found.uploading.append(places[prefix])
        elif files:
            found.complete.append(FoundDrop(places[prefix], files))
    return found


def _is_complete(prefix: str, infos: Sequence[ObjectInfo], quiet_seconds: float) -> bool:
    """Whether nobody is still writing: it is marked done, or nothing changed for a while."""
    if any(info.key == prefix + DONE_MARKER for info in infos):
        return True
    quiet = timedelta(seconds=quiet_seconds)
    return bool(infos) and datetime.now(UTC) - _changed_at(infos) >= quiet


def _changed_at(infos: Sequence[ObjectInfo]) -> datetime:
    return max(info.changed_at for info in infos)


def _known_listings(lake: Lake, limits: Limits) -> dict[str, set[_Listing]]:
    """The listings, by prefix, of the sealed drops that are ingested, or refused with the limits.

    The same content sealed for another dataset as well is another drop.
    """
    with connect(lake) as session:
        rows = session.execute(_FINISHED).fetchall()
    known: dict[str, set[_Listing]] = {}
    for drop_id, dataset, prefix, files, unit in rows:
        ingested = unit == intake_unit(drop_id, dataset)
        if ingested or unit == refusal_unit(drop_id, dataset, limits):
            listing = tuple((file["key"], file["size_bytes"], file["version"]) for file in files)
            known.setdefault(prefix, set()).add(listing)
    return known


def _listing(files: Iterable[ObjectInfo]) -> _Listing:
    return tuple((printable(info.key), info.size_bytes, info.version) for info in files)
