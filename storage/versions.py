"""Which versions of the tables are read: named ones, or those of a time that is past."""

import json
import re
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

from deltalake import DeltaTable

from storage.errors import AsOfError, UnknownTableError, VersionGoneError
from storage.objects import open_store
from storage.schemas import TABLES

if TYPE_CHECKING:
    from storage.lake import Lake

Versions = Mapping[str, int | None]
"""The version to read of a table, by its name; None is a table that was not there yet, empty."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_COMMIT = re.compile(r"/([0-9]{20})\.json$")
_READERS = 16  # at once, for every read waits for a bucket
_MOST_DIGITS = 18  # what the table format can count


def versions_as_of(lake: "Lake", given: Iterable[str], now: datetime | None = None) -> Versions:
    """Read what people write to say how old the tables should be.

    Args:
        lake: The tables.
        given: `TABLE=VERSION` for one table, or once a time for all others: `2026-11-01`,
            `2026-11-01T02:00`, `2026-11-01T02:00+01:00`. A time without a zone is UTC, a day its
            first instant.
        now: The present; the clock's by default.

    Returns:
        A version by table; tables that are not in it are read at their newest.

    Raises:
        AsOfError: If one of these is neither, or the time is not past, or there are two for one
            table.
        UnknownTableError: If it names no table of the lake.
        VersionGoneError: If a table is too old for its log.
    """
    named: dict[str, int] = {}
    times: list[datetime] = []
    for text in given:
        if "=" in text:
            table, version = _table_version(text)
            if table in named:
                raise AsOfError(f"Expected one version of {table!r}, but got several")
            named[table] = version
        else:
            times.append(past_time(text, now, "TABLE=VERSION, or a time"))
    if len(times) > 1:
        raise AsOfError(f"Expected one time, but got {len(times)}")
    return {**(_versions_at(lake, times[0]) if times else {}), **named}


def past_time(text: str, now: datetime | None = None, expected: str = "a time") -> datetime:
    """Read a time that is past: `2026-11-01`, `2026-11-01T02:00`, `2026-11-01T02:00+01:00`.

    Args:
        text: What was written; without a zone it is UTC.
        now: The present; the clock's by default.
        expected: What else it may be, for the message.

    Raises:
        AsOfError: If it is no time, or not past.
    """
    now = now or datetime.now(UTC)
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise AsOfError(
            f"Expected {expected} such as 2026-11-01, 2026-11-01T02:00 or 2026-11-01T02:00+01:00, "
            f"but got {text[:200]!r}"
        ) from None
    if found.tzinfo is None:
        found = found.replace(tzinfo=UTC)
    if found > now:
        raise AsOfError(f"Expected a time that is past, but got {text!r}; it is {now:%FT%TZ}")
    return found


def open_version(lake: "Lake", table: str, versions: Versions) -> DeltaTable | None:
    """Open a table at the version that is asked for, or at its newest.

    Args:
        lake: The tables.
        table: Name of the table.
        versions: The versions to read.

    Returns:
        None if the table was not there.

    Raises:
        UnknownVersionError: If the table has no such version yet.
        VersionGoneError: If its log or its files were cleaned up.
    """
    if table not in versions:
        return lake.table(table)
    version = versions[table]
    if version is None:
        return None
    stored = lake.table(table, version)
    if stored is not None:
        _require_files(lake, table, stored)
    return stored


def _table_version(text: str) -> tuple[str, int]:
    table, _, version = text.partition("=")
    if table not in TABLES:
        raise UnknownTableError(table, TABLES)
    if not (version.isascii() and version.isdecimal() and len(version) <= _MOST_DIGITS):
        raise AsOfError(f"Expected TABLE=VERSION with a whole number, but got {text[:200]!r}")
    return table, int(version)


class _Commit(NamedTuple):
    """When a version was committed, by the clock of its writer, and whether it took rows back."""

    time: datetime
    retracts: bool


def _versions_at(lake: "Lake", at: datetime) -> dict[str, int | None]:
    """The version of every table at an instant, by the clocks of those who wrote them.

    A unit's rows are committed before its row in `units`, by one clock. So whatever the chosen
    version of `units` names is in the others if they are taken as of its youngest commit, which
    is later than the instant only where the clock of one writer was ahead of another's. Then they
    are taken from before the retractions that the chosen version of `units` does not know of.
    """
    # Units first: what others commit meanwhile may be in the later reads, but is not named.
    units = _commits(lake, "units")
    version = _newest(lake, "units", units, at)
    chosen = {"units": version}
    if version is not None:
        at = max([at, *(commit.time for number, commit in units.items() if number <= version)])
    to_come = [
        commit.time
        for number, commit in units.items()
        if commit.retracts and (version is None or number > version)
    ]
    for table in TABLES:
        if table != "units":
            commits = _commits(lake, table)
            if to_come:
                commits = _before_retraction(commits, min(to_come))
            chosen[table] = _newest(lake, table, commits, at)
    return chosen


def _before_retraction(commits: Mapping[int, _Commit], time: datetime) -> dict[int, _Commit]:
    """The commits before the first that took rows back at a time or later."""
    ends = [version for version, found in commits.items() if found.retracts and found.time >= time]
    return {version: found for version, found in commits.items() if not ends or version < min(ends)}


def _commits(lake: "Lake", table: str) -> dict[int, _Commit]:
    """The commits that a table's log still has, by their version.

    The table format's own search goes by the age of the log's files, which a copy of the lake
    changes, and takes version 0 for the time before the table was there.
    """
    if lake.table(table) is None:
        return {}
    store = open_store(lake.root)
    keys = [info.key for info in store.list(f"{table}/_delta_log/")]
    versions = {int(found[1]): key for key in keys if (found := _COMMIT.search(key))}
    with ThreadPoolExecutor(_READERS) as readers:
        read = readers.map(lambda key: _commit(store.read(key)), versions.values())
        return {
            version: commit
            for version, commit in zip(versions, read, strict=True)
            if commit is not None
        }


def _commit(content: bytes) -> _Commit | None:
    """What a commit says of itself; None if its writer did not say when it was made."""
    for line in content.splitlines():
        if (about := json.loads(line).get("commitInfo")) is not None:
            stamp = about.get("inCommitTimestamp") or about.get("timestamp")
            if stamp is None:
                return None
            retracts = about.get("segmill") == "retract"
            return _Commit(_EPOCH + timedelta(milliseconds=stamp), retracts)
    return None


def _newest(lake: "Lake", table: str, commits: Mapping[int, _Commit], at: datetime) -> int | None:
    then = [version for version, commit in commits.items() if commit.time <= at]
    if then:
        return max(then)
    if commits and min(commits) > 0:
        begins = min(commit.time for commit in commits.values())
        raise VersionGoneError(table, f"{at:%FT%TZ}", f"its log begins at {begins:%FT%TZ}")
    return None


def _require_files(lake: "Lake", table: str, stored: DeltaTable) -> None:
    """Refuse a version whose files are deleted, before a query fails on one of them."""
    newest = lake.table(table)
    # What the newest version lives on is there.
    kept = set() if newest is None else set(newest.file_uris())
    replaced = [uri.rsplit("/", 1)[-1] for uri in stored.file_uris() if uri not in kept]
    store = open_store(lake.root)
    if not all(store.exists(f"{table}/{name}") for name in replaced):
        raise VersionGoneError(table, f"version {stored.version()}", "its files were cleaned up")
