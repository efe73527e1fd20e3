"""Put other files into the place of live ones, in one commit that nothing came in between of.

Delta's own rewriting lets two compactions at once both succeed, and every row is then there twice.
Here a commit is made for the one version that was looked at, or not at all.
"""

import hashlib
import random
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from deltalake import CommitProperties, DeltaTable, Transaction
from deltalake.exceptions import CommitFailedError
from deltalake.transaction import AddAction, RemoveAction

from storage.data_files import data_files, recorded_sha256, row_groups
from storage.errors import CommitConflictError, DamagedFileError, ObjectNotFoundError

if TYPE_CHECKING:
    from storage.lake import Lake

_ATTEMPTS = 50


@dataclass(frozen=True)
class LiveFile:
    """A file that is in a table.

    Attributes:
        path: Its path as the table's log has it.
        size_bytes: Its size.
        rows: Its rows; None if the log does not say.
        unit_bounds: The least and the greatest unit id in it; None if the log does not say.
    """

    path: str
    size_bytes: int
    rows: int | None
    unit_bounds: tuple[str, str] | None

    @property
    def name(self) -> str:
        """Its path below the table's folder."""
        return unquote(self.path)

    @property
    def has_checksum(self) -> bool:
        """Whether its name says what its bytes were."""
        return recorded_sha256(self.name) is not None

    @property
    def only_unit(self) -> str | None:
        """The unit that all of its rows are of, if there is one."""
        if self.unit_bounds is None or not self.has_checksum:
            return None
        least, greatest = self.unit_bounds
        return least if least == greatest else None

    def may_hold(self, unit_ids: Iterable[str]) -> bool:
        """Whether rows of one of these units can be in it."""
        if self.unit_bounds is None or not self.has_checksum:
            return True  # other writers shorten long bounds
        least, greatest = self.unit_bounds
        return any(least <= unit_id <= greatest for unit_id in unit_ids)


def list_files(stored: DeltaTable) -> list[LiveFile]:
    """The live files of an opened table."""
    actions = pa.table(stored.get_add_actions(flatten=True)).to_pylist()
    return [
        LiveFile(
            path=action["path"],
            size_bytes=action["size_bytes"],
            rows=action.get("num_records"),
            unit_bounds=_bounds(action.get("min.unit_id"), action.get("max.unit_id")),
        )
        for action in actions
    ]


def stored_schema(stored: DeltaTable) -> pa.Schema:
    """The columns of an opened table, also those that another version of the code added."""
    return pa.schema(stored.schema().to_arrow())


def read_content(lake: "Lake", table: str, file: LiveFile) -> bytes:
    """Read a file and compare it with the checksum in its name.

    Raises:
        DamagedFileError: If it is missing, or holds other bytes than were written.
    """
    key = f"{table}/{file.name}"
    try:
        content = lake.objects.read(key)
    except ObjectNotFoundError:
        raise DamagedFileError(table, lake.objects.uri(key), "it is missing") from None
    expected = recorded_sha256(file.name)
    found = hashlib.sha256(content).hexdigest()
    if expected is not None and found != expected:
        reason = (
            f"expected sha256 {expected[:12]}…, but its {len(content)} bytes have {found[:12]}…"
        )
        raise DamagedFileError(table, lake.objects.uri(key), reason)
    return content


def read_rows(lake: "Lake", table: str, file: LiveFile, schema: pa.Schema) -> pa.Table:
    """Read the rows of a file, in the columns of the table.

    Raises:
        DamagedFileError: If it is missing, other than it was written, or cannot be read.
    """
    content = read_content(lake, table, file)
    try:
        rows = pq.read_table(pa.BufferReader(content))
    except (pa.ArrowException, OSError) as error:
        uri = lake.objects.uri(f"{table}/{file.name}")
        raise DamagedFileError(table, uri, str(error)) from error
    columns = [
        rows.column(field.name).cast(field.type)
        if field.name in rows.column_names
        else pa.nulls(rows.num_rows, field.type)
        for field in schema
    ]
    return pa.table(columns, schema=schema)


def replace_files(
    lake: "Lake",
    table: str,
    old: Collection[LiveFile],
    added: Sequence[AddAction],
    *,
    about: Mapping[str, Any],
    data_change: bool,
    lives: Mapping[str, tuple[int | None, int]] | None = None,
    at: int | None = None,
) -> bool:
    """Commit that files take the place of others, if the others are still live.

    Commits of other writers in between only make it try again, for what they appended stays;
    unless a version is given.

    Args:
        lake: The tables.
        table: Name of the table.
        old: The files to remove from the table. The files themselves stay for readers of older
            versions, until they are vacuumed.
        added: What `Lake.store_file` returned for the new files.
        about: Facts to note in the table's history.
        data_change: False if the rows are the same as before.
        lives: Versions of application transactions: the one that must be found, and the new one.
        at: The only version of the table to commit this after; None takes any.

    Returns:
        False if another writer removed one of the old files or changed one of these versions, or
        if others won every attempt; nothing is changed then.
    """
    old_paths = {file.path for file in old}
    new_paths = {action.path for action in added}
    lives = lives or {}
    for attempt in range(_ATTEMPTS):
        stored = lake.table(table)
        if stored is None:
            return False
        live = {file.path for file in list_files(stored)}
        found = {app_id: stored.transaction_version(app_id) for app_id in lives}
        if (new_paths or lives) and new_paths <= live and found == _new_versions(lives):
            return True  # it was committed, and only the answer was lost
        if at is not None and stored.version() != at:
            return False
        if not old_paths <= live or any(found[key] != was for key, (was, _) in lives.items()):
            return False
        now_ms = time.time_ns() // 1_000_000
        removed = [
            RemoveAction(
                file.path,
                data_change=data_change,
                deletion_timestamp=now_ms,
                size=file.size_bytes,
                partition_values={},
            )
            for file in old
        ]
        try:
            lake.commit(
                stored,
                [*added, *removed],
                CommitProperties(
                    custom_metadata=dict(about),
                    max_commit_retries=0,  # not at a later version, whatever Delta thinks of it
                    app_transactions=[
                        Transaction(app_id, new) for app_id, new in _new_versions(lives).items()
                    ],
                ),
            )
        except CommitFailedError:
            time.sleep(random.uniform(0, min(0.5, 0.01 * 2**attempt)))
        else:
            return True
    return False


def remove_units(lake: "Lake", table: str, lives: Mapping[str, int]) -> int:
    """Remove the rows of withdrawn units from a table, in one commit.

    Args:
        lake: The tables.
        table: Name of the table; nothing happens if it was never written.
        lives: By unit id, the version that its withdrawal gets; units with this version or a
            later one are left alone.

    Returns:
        How many rows were removed.

    Raises:
        DamagedFileError: If a file that may hold such rows is damaged.
        CommitConflictError: If other writers won every attempt.
    """
    for _ in range(_ATTEMPTS):
        stored = lake.table(table)
        if stored is None:
            return 0
        versions = {unit_id: stored.transaction_version(unit_id) for unit_id in lives}
        due = {
            unit_id: (found, lives[unit_id])
            for unit_id, found in versions.items()
            if (found or 0) < lives[unit_id]
        }
        if not due:
            return 0
        old, added, removed = without_units(lake, table, stored, due)
        about = {"segmill": "retract", "units": len(due), "rows": removed}
        if replace_files(lake, table, old, added, about=about, data_change=True, lives=due):
            return removed
    raise CommitConflictError(table, min(lives), _ATTEMPTS)


def without_units(
    lake: "Lake", table: str, stored: DeltaTable, unit_ids: Collection[str]
) -> tuple[list[LiveFile], list[AddAction], int]:
    """Store the files of a table that hold rows of some units anew, without these rows.

    Returns:
        The files that hold such rows, what takes their place, and how many rows are left out.
    """
    schema, wanted = stored_schema(stored), pa.array(sorted(unit_ids), pa.string())
    old, added, removed = [], [], 0
    for file in list_files(stored):
        if not file.may_hold(unit_ids):
            continue
        if file.only_unit in unit_ids and file.rows is not None:
            # Nothing of it stays, so that it may be damaged as well.
            old.append(file)
            removed += file.rows
            continue
        rows = read_rows(lake, table, file, schema)
        kept = rows.filter(pc.invert(pc.is_in(rows.column("unit_id"), wanted)))
        if kept.num_rows == rows.num_rows:
            continue
        old.append(file)
        removed += rows.num_rows - kept.num_rows
        for new in data_files(row_groups(kept), schema):
            added.append(lake.store_file(table, new, data_change=True))
    return old, added, removed


def _new_versions(lives: Mapping[str, tuple[int | None, int]]) -> dict[str, int]:
    return {app_id: new for app_id, (_, new) in lives.items()}


def _bounds(least: str | None, greatest: str | None) -> tuple[str, str] | None:
    return None if least is None or greatest is None else (least, greatest)
