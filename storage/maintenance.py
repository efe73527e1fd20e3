"""Keep tables quick and small: merge small files, remove what no version needs, shorten the log."""

import math
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import duckdb
import pyarrow as pa

from storage.data_files import ROW_GROUP_ROWS, TARGET_BYTES, data_files, row_groups
from storage.rewriting import LiveFile, list_files, read_rows, replace_files, stored_schema
from storage.rows import SORT_COLUMNS

if TYPE_CHECKING:
    from storage.lake import Lake

_KEPT_HOURS = 168
# What is merged at once is held in memory.
_GROUP_TARGETS = 2


@dataclass(frozen=True)
class TableMaintenance:
    """What was done to a table; in a dry run, what would be.

    Attributes:
        table: Name of the table.
        files_before: Live files before.
        files_after: Live files after; an estimate in a dry run.
        bytes_before: Size of the live files before, bytes.
        bytes_after: Size of the live files after, bytes; as before in a dry run.
        merged: Files that were merged, or written anew with a checksum in their name.
        vacuumed: Files that no version within the retention needs, and that were deleted.
        checkpointed: Whether the log got a checkpoint, and was shortened.
        postponed: Whether other writers won, so that merging goes on the next time.
    """

    table: str
    files_before: int = 0
    files_after: int = 0
    bytes_before: int = 0
    bytes_after: int = 0
    merged: int = 0
    vacuumed: int = 0
    checkpointed: bool = False
    postponed: bool = False


def maintain_table(
    lake: "Lake",
    table: str,
    *,
    retention_hours: int = _KEPT_HOURS,
    target_bytes: int = TARGET_BYTES,
    dry_run: bool = False,
) -> TableMaintenance:
    """Merge the small files of a table, sorted by label and image; vacuum it; checkpoint its log.

    Writers and readers may be at work meanwhile. A second call with nothing to do changes nothing.

    Args:
        lake: The tables.
        table: Name of the table.
        retention_hours: How long files stay that the newest version does not need: those of older
            versions, which readers may have open, and those of commits that are under way or died.
        target_bytes: Files smaller than this are merged.
        dry_run: Say what would be done; change nothing.

    Raises:
        UnknownTableError: If the lake has no such table.
        DamagedFileError: If a file that should be merged is damaged; nothing is changed.
    """
    stored = lake.table(table)
    if stored is None:
        return TableMaintenance(table)
    before = list_files(stored)
    if dry_run:
        small = _small(before, target_bytes)
        size = sum(file.size_bytes for file in small)
        vacuumed = stored.vacuum(
            retention_hours, dry_run=True, enforce_retention_duration=False, full=True
        )
        return TableMaintenance(
            table,
            files_before=len(before),
            files_after=len(before) - len(small) + math.ceil(size / target_bytes),
            bytes_before=_size(before),
            bytes_after=_size(before),
            merged=len(small),
            vacuumed=len(vacuumed),
        )
    merged, postponed = _merge_small_files(lake, table, target_bytes)
    stored = lake.table(table)
    assert stored is not None
    vacuumed = stored.vacuum(
        retention_hours, dry_run=False, enforce_retention_duration=False, full=True
    )
    checkpointed = _checkpoint(lake, table)
    after = list_files(stored)
    return TableMaintenance(
        table,
        files_before=len(before),
        files_after=len(after),
        bytes_before=_size(before),
        bytes_after=_size(after),
        merged=merged,
        vacuumed=len(vacuumed),
        checkpointed=checkpointed,
        postponed=postponed,
    )


def _merge_small_files(lake: "Lake", table: str, target_bytes: int) -> tuple[int, bool]:
    """Merge until at most one file is small; return how many were, and whether others won."""
    merged = 0
    while True:
        stored = lake.table(table)
        assert stored is not None
        group: list[LiveFile] = []
        for file in _small(list_files(stored), target_bytes):
            if len(group) > 1 and _size(group) + file.size_bytes > _GROUP_TARGETS * target_bytes:
                break
            group.append(file)
        if not group:
            return merged, False
        if not _merge(lake, table, group, stored_schema(stored), target_bytes):
            return merged, True
        merged += len(group)


def _small(files: Sequence[LiveFile], target_bytes: int) -> list[LiveFile]:
    """The files to merge, the smallest first; a lone one only if it lacks a checksum."""
    small = [file for file in files if file.size_bytes < target_bytes or not file.has_checksum]
    if len(small) == 1 and small[0].has_checksum:
        return []
    return sorted(small, key=lambda file: (file.size_bytes, file.path))


def _merge(
    lake: "Lake", table: str, group: Sequence[LiveFile], schema: pa.Schema, target_bytes: int
) -> bool:
    rows = pa.concat_tables([read_rows(lake, table, file, schema) for file in group])
    written, added = 0, []
    for file in data_files(_in_order(rows), schema, target_bytes):
        written += file.rows
        added.append(lake.store_file(table, file, data_change=False))
    if written != rows.num_rows:
        raise RuntimeError(f"merging {table!r} made {written} rows of {rows.num_rows}")
    about = {"segmill": "maintain", "files": len(group), "rows": written}
    return replace_files(lake, table, group, added, about=about, data_change=False)


def _in_order(rows: pa.Table) -> Iterator[pa.Table]:
    """Yield row groups, sorted so that readers of a label or an image skip most of them."""
    keys = [name for name in SORT_COLUMNS if name in rows.column_names]
    if not keys:
        yield from row_groups(rows.combine_chunks())
        return
    # DuckDB sorts what does not fit in memory, and strings of more than 2 GiB together.
    with tempfile.TemporaryDirectory(prefix="segmill-sort-") as spill:
        config: dict[str, str | bool | int | float | list[str]] = {"temp_directory": spill}
        with duckdb.connect(":memory:", config=config) as session:
            session.execute("SET TimeZone = 'UTC'")
            session.register("unsorted", rows)
            order = ", ".join(f'"{key}"' for key in keys)
            found = session.sql(f"SELECT * FROM unsorted ORDER BY {order}")
            for batch in found.to_arrow_reader(ROW_GROUP_ROWS):
                yield pa.Table.from_batches([batch]).cast(rows.schema)


def _checkpoint(lake: "Lake", table: str) -> bool:
    """Write the newest version as one file, if it is not; old parts of the log may then go."""
    stored = lake.table(table)
    assert stored is not None
    key = f"{table}/_delta_log/{stored.version():020}.checkpoint.parquet"
    if lake.objects.exists(key):
        return False
    stored.create_checkpoint()
    stored.cleanup_metadata()
    return True


def _size(files: Sequence[LiveFile]) -> int:
    return sum(file.size_bytes for file in files)
