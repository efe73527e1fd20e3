"""What a table's log has lost, by what is left of it elsewhere: its files, and the units of work.

A log cannot tell by itself that its newest commit is gone, or all of it.
"""

from collections import defaultdict
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pyarrow as pa
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from storage.errors import DamagedFileError
from storage.rewriting import list_files, read_rows, stored_schema
from storage.unit_lives import is_committed, retractions

if TYPE_CHECKING:
    from storage.lake import Lake

# What a unit of a stage writes to whatever it found. (The rest of a unit that was withdrawn in part
# is written only to the tables that have rows of it; of `segment` there may be such a rest.)
_WRITTEN = {
    "ingest": ("images", "annotations", "quarantine"),
    "reject": ("images", "annotations", "quarantine"),
    "stats": ("label_stats",),
}
_WRITTEN_WITH_OUTPUTS = {"segment": ("segments",)}
# By how much the clock of a bucket may differ from a writer's.
_CLOCKS_DIFFER = timedelta(minutes=5)


def unreadable_log(lake: "Lake", table: str, error: DeltaError) -> DamagedFileError:
    """What to say of a log that Delta cannot read."""
    # The lines after the first one are of the program's own stack.
    reason = str(error).partition("\n")[0]
    return DamagedFileError(table, _log_uri(lake, table), f"the log cannot be read: {reason}")


def check_log_is_there(lake: "Lake", table: str) -> None:
    """Refuse a table that cannot be opened, but has files.

    Raises:
        DamagedFileError: If there are any.
    """
    files = sum(known.key.endswith(".parquet") for known in lake.objects.list(f"{table}/"))
    if files:
        reason = f"the log is missing, but {files} Parquet files are there"
        raise DamagedFileError(table, _log_uri(lake, table), reason)


def check_log_begins_before(
    lake: "Lake", table: str, stored: DeltaTable, strays: Collection[str]
) -> None:
    """Refuse a table that is younger than some of its files: then its log was lost, and made anew.

    Args:
        lake: The tables.
        table: Name of the table.
        stored: The table.
        strays: Names of the files that no version of it names.

    Raises:
        DamagedFileError: If some of these are older.
    """
    created_ms = stored.metadata().created_time
    if not strays or created_ms is None:
        return
    begins = datetime.fromtimestamp(created_ms / 1000, UTC)
    names = set(strays)
    older = [
        info.key
        for info in lake.objects.list(f"{table}/")
        if info.key.removeprefix(f"{table}/") in names
        and info.modified_at < begins - _CLOCKS_DIFFER
    ]
    if older:
        reason = (
            f"the log was lost and began again at {begins:%FT%TZ}: {len(older)} older files are "
            f"in no version of the table, such as {lake.objects.uri(older[0])}"
        )
        raise DamagedFileError(table, _log_uri(lake, table), reason)


def lost_units(lake: "Lake") -> dict[str, tuple[str, ...]]:
    """By table, the finished units that wrote to it, but whose commit its log does not have.

    Tables whose log cannot be read at all are left out; so is everything if `units` cannot be.
    """
    while True:
        try:
            units = lake.table("units")
            if units is None:
                return {}
            wanted = _tables_by_unit(lake, units)
        except (DeltaError, DamagedFileError):
            return {}
        # The others later: they have what these units wrote, unless that was withdrawn meanwhile.
        lost = {
            table: tuple(unit_id for unit_id in sorted(unit_ids) if not _has(stored, unit_id))
            for table, unit_ids in wanted.items()
            for stored in _readable(lake, table)
        }
        if retractions(lake.table("units")) == retractions(units):
            return {table: unit_ids for table, unit_ids in lost.items() if unit_ids}


def _tables_by_unit(lake: "Lake", units: DeltaTable) -> dict[str, list[str]]:
    known = stored_schema(units)
    schema = pa.schema([known.field(name) for name in ("unit_id", "stage", "outputs")])
    found = defaultdict(list)
    for file in list_files(units):
        for row in read_rows(lake, "units", file, schema).to_pylist():
            tables = _WRITTEN.get(row["stage"], ())
            if row["outputs"]:
                tables += _WRITTEN_WITH_OUTPUTS.get(row["stage"], ())
            for table in tables:
                found[table].append(row["unit_id"])
    return found


def _readable(lake: "Lake", table: str) -> list[DeltaTable | None]:
    try:
        return [lake.table(table)]
    except DeltaError:
        return []


def _has(stored: DeltaTable | None, unit_id: str) -> bool:
    return stored is not None and is_committed(stored.transaction_version(unit_id))


def _log_uri(lake: "Lake", table: str) -> str:
    return lake.objects.uri(f"{table}/_delta_log")
