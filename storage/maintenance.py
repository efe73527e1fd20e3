"""Keep tables quick and small: merge small files, remove what no version needs, shorten the log."""

import math
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import duckdb
import pyarrow as pa

from storage.data_files import ROW_GROUP_ROWS, TARGET_BYTES, data_files, row_groups
from storage.log_retention import keep_removed_files
from storage.rewriting import LiveFile, list_files, read_rows, replace_files, stored_schema
from storage.rows import SORT_COLUMNS
from storage.strays import unfinished_files, unknown_files
from storage.table_logs import check_log_begins_before, check_log_is_there
from storage.views import quoted

if TYPE_CHECKING:
    from storage.lake import Lake

_KEPT_HOURS = 168
# What is merged at once is held in memory.
_GROUP_TARGETS = 4


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
        vacuumed: Files that no version within the retention needs, and that were deleted; those
            that a writer left unfinished as well.
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
        target_bytes: About how large files become; those of less than half of it are merged.
        dry_run: Say what would be done; change nothing.

    Raises:
        UnknownTableError: If the lake has no such table.
        DamagedFileError: If a file that should be merged is damaged, or the log is missing or began
            again; nothing is changed.
    """
    stored = lake.table(table)
    if stored is None:
        check_log_is_there(lake, table)
        return TableMaintenance(table)
    # What a lost log knew of must not be taken for garbage.
    check_log_begins_before(lake, table, stored, unknown_files(stored, retention_hours))
    before = list_files(stored)
    if dry_run:
        small = _small(before, target_bytes)
        size = sum(file.size_bytes for file in small)
        return TableMaintenance(
            table,
            files_before=len(before),
            files_after=len(before) - len(small) + (_files_of(size, target_bytes) if small else 0),
            bytes_before=_size(before),
            bytes_after=_size(before),
            merged=len(small),
            vacuumed=_vacuum(lake, table, retention_hours, dry_run=True),
        )
    merged, postponed = _merge_small_files(lake, table, target_bytes)
    # Until a checkpoint keeps what is to be kept, the old log must do so.
    kept = keep_removed_files(lake, table, retention_hours)
    vacuumed = _vacuum(lake, table, retention_hours, dry_run=False)
    checkpointed = kept and _checkpoint(lake, table)
    stored = lake.table(table)
    assert stored is not None
    after = list_files(stored)
    return TableMaintenance(
        table,
        files_before=len(before),
        files_after=len(after),
        bytes_before=_size(before),
        bytes_after=_size(after),
        merged=merged,
        vacuumed=vacuumed,
        checkpointed=checkpointed,
        postponed=postponed or not kept,
    )


def _vacuum(lake: "Lake", table: str, retention_hours: int, *, dry_run: bool) -> int:
    stored = lake.table(table)
    assert stored is not None
    vacuumed = stored.vacuum(
        retention_hours, dry_run=dry_run, enforce_retention_duration=False, full=True
    )
    unfinished = unfinished_files(lake, table, retention_hours)
    if not dry_run:
        for path in unfinished:
            path.unlink(missing_ok=True)
    return len(vacuumed) + len(unfinished)


def _merge_small_files(lake: "Lake", table: str, target_bytes: int) -> tuple[int, bool]:
    """Merge until at most one file is small; return how many were, and whether others won."""
    merged, fewest = 0, math.inf
    while True:
        stored = lake.table(table)
        assert stored is not None
        small = _small(list_files(stored), target_bytes)
        # Rows that compress better together may become small files again.
        if not small or len(small) >= fewest:
            return merged, False
        fewest = len(small)
        group: list[LiveFile] = []
        for file in small:
            if len(group) > 1 and _size(group) + file.size_bytes > _GROUP_TARGETS * target_bytes:
                break
            group.append(file)
        if not _merge(lake, table, group, stored_schema(stored), target_bytes):
            return merged, True
        merged += len(group)


def _small(files: Sequence[LiveFile], target_bytes: int) -> list[LiveFile]:
    """The files to merge, the smallest first; a lone one only if it lacks a checksum."""
    small = [file for file in files if 2 * file.size_bytes < target_bytes or not file.has_checksum]
    if len(small) == 1 and small[0].has_checksum:
        return []
    return sorted(small, key=lambda file: (file.size_bytes, file.path))


def _merge(
    lake: "Lake", table: str, group: Sequence[LiveFile], schema: pa.Schema, target_bytes: int
) -> bool:
    rows = pa.concat_tables([read_rows(lake, table, file, schema) for file in group])
    written, added = 0, []
    for part in _parts(rows, _files_of(_size(group), target_bytes)):
        for file in data_files(part, schema, 2 * target_bytes):
            written += file.rows
            added.append(lake.store_file(table, file, data_change=False))
    if written != rows.num_rows:
        raise RuntimeError(f"merging {table!r} made {written} rows of {rows.num_rows}")
    about = {"segmill": "maintain", "files": len(group), "rows": written}
    return replace_files(lake, table, group, added, about=about, data_change=False)


def _files_of(size_bytes: int, target_bytes: int) -> int:
    return max(1, round(size_bytes / target_bytes))


def _parts(rows: pa.Table, count: int) -> Iterator[Iterator[pa.Table]]:
    """Divide rows into files, and yield the row groups of each.

    Each file gets a range of images, in which rows are sorted by label and image. So readers of an
    image need one file, and those of a label a stretch of each.
    """
    keys = [name for name in SORT_COLUMNS if name in rows.column_names]
    if not keys:
        yield row_groups(rows.combine_chunks())
        return
    # DuckDB sorts what does not fit in memory, and strings of more than 2 GiB together.
    with tempfile.TemporaryDirectory(prefix="segmill-sort-") as spill:
        config: dict[str, str | bool | int | float | list[str]] = {"temp_directory": spill}
        with duckdb.connect(":memory:", config=config) as session:
            session.execute("SET TimeZone = 'UTC'")
            session.register("unsorted", rows)
            for condition in _image_ranges(session, count if "image_id" in keys else 1):
                order = ", ".join(f'"{key}"' for key in keys)
                found = session.sql(f"SELECT * FROM unsorted WHERE {condition} ORDER BY {order}")
                batches = found.to_arrow_reader(ROW_GROUP_ROWS)
                yield (pa.Table.from_batches([batch]).cast(rows.schema) for batch in batches)


def _image_ranges(session: duckdb.DuckDBPyConnection, count: int) -> list[str]:
    """Conditions that divide `unsorted` into parts of about as many rows."""
    shares = [part / count for part in range(1, count)]
    found = session.execute(
        "SELECT DISTINCT unnest(quantile_disc(image_id, $shares)) AS least FROM unsorted "
        "ORDER BY least", {"shares": shares}
    ).fetchall() if shares else []  # fmt: skip
    bounds = [quoted(least) for (least,) in found if least is not None]
    ranges = [f"image_id >= {least} AND image_id < {next_}" for least, next_ in pairwise(bounds)]
    if not bounds:
        return ["true"]
    return [f"coalesce(image_id < {bounds[0]}, true)", *ranges, f"image_id >= {bounds[-1]}"]


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
