"""Parquet files of the tables: how they are laid out, and how a name vouches for the content.

A file is named after the sha256 of its bytes, which is taken before they leave the process. So the
checksum is where the table's log has it too, for as long as the file is in the table.
"""

import hashlib
import json
import math
import re
import time
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from deltalake.transaction import AddAction

from storage.parquet_layout import parquet_layout

TARGET_BYTES = 64 * 2**20
"""A file is closed when it has reached this size."""

ROW_GROUP_ROWS = 65_536
"""Rows a row group: what a reader skips or reads at once."""

# A longer least or greatest value is kept in the log by its beginning.
_LONGEST_BOUND = 200
_GREATEST_CHARACTER = "\U0010ffff"
_NAME = re.compile(r"part-[0-9a-f]{32}-(?P<sha256>[0-9a-f]{64})\.parquet")


@dataclass(frozen=True)
class DataFile:
    """A Parquet file that is not stored yet.

    Attributes:
        name: Its name in the table's folder; no other file ever has it.
        content: Its bytes.
        rows: Its rows.
        statistics: What the table's log says of it, as Delta writes it.
    """

    name: str
    content: memoryview
    rows: int
    statistics: str

    def added(self, *, data_change: bool) -> AddAction:
        """The action of a commit that puts the file into the table.

        Args:
            data_change: False if its rows were in the table before, in other files.
        """
        now_ms = time.time_ns() // 1_000_000
        return AddAction(self.name, len(self.content), {}, now_ms, data_change, self.statistics)


def data_files(
    rows: Iterable[pa.Table], schema: pa.Schema, target_bytes: int = TARGET_BYTES
) -> Iterator[DataFile]:
    """Lay rows out in Parquet files, all but the last of them at least as large as the target.

    A NaN becomes null wherever the schema allows that: Parquet's statistics pass over NaN, so that
    readers would skip files and row groups that hold one.

    Args:
        rows: The rows in order, up to `ROW_GROUP_ROWS` at a time: each a row group.
        schema: Their schema.
        target_bytes: When to begin with the next file.
    """
    growing: _GrowingFile | None = None
    for group in rows:
        if not group.num_rows:
            continue
        if growing is None:
            growing = _GrowingFile(schema)
        growing.add(group)
        if growing.size_bytes >= target_bytes:
            yield growing.close()
            growing = None
    if growing is not None:
        yield growing.close()


def row_groups(data: pa.Table) -> Iterator[pa.Table]:
    """Cut a table into row groups."""
    for start in range(0, data.num_rows, ROW_GROUP_ROWS):
        yield data.slice(start, ROW_GROUP_ROWS)


def recorded_sha256(name: str) -> str | None:
    """The sha256 that a file was written with, from its name; None if another program wrote it."""
    found = _NAME.fullmatch(name)
    return found["sha256"] if found else None


def has_nan(column: pa.ChunkedArray) -> bool:
    """Tell whether a column holds a number that is none."""
    return pa.types.is_floating(column.type) and pc.any(pc.is_nan(column)).as_py() is True


class _GrowingFile:
    def __init__(self, schema: pa.Schema) -> None:
        self._schema = schema
        self._sink = pa.BufferOutputStream()
        self._writer = pq.ParquetWriter(self._sink, schema, **parquet_layout(schema))
        # Of every plain column: of one that is left out some readers make a condition that no row
        # fulfils.
        plain = [field for field in schema if not pa.types.is_nested(field.type)]
        self._texts = [field.name for field in plain if pa.types.is_string(field.type)]
        self._numbers = [field.name for field in plain if not pa.types.is_string(field.type)]
        self._rows = 0
        self._nulls = dict.fromkeys((field.name for field in plain), 0)
        self._bounds: dict[str, tuple[Any, Any]] = {}
        self._unbounded: set[str] = set()

    @property
    def size_bytes(self) -> int:
        return int(self._sink.tell())

    def add(self, group: pa.Table) -> None:
        group = self._without_nan(group)
        self._writer.write_table(group, row_group_size=ROW_GROUP_ROWS)
        self._rows += group.num_rows
        for name in self._nulls:
            self._nulls[name] += group.column(name).null_count
        for name in self._numbers:
            found = pc.min_max(group.column(name)).as_py()
            if found["min"] is None:
                continue
            infinite = isinstance(found["min"], float) and not all(
                map(math.isfinite, found.values())
            )
            # JSON has no infinite numbers; and NaN is the greatest of all, but was passed over.
            if infinite or has_nan(group.column(name)):
                self._unbounded.add(name)
                continue
            least, greatest = self._bounds.get(name, (found["min"], found["max"]))
            self._bounds[name] = min(least, found["min"]), max(greatest, found["max"])

    def _without_nan(self, group: pa.Table) -> pa.Table:
        for at, field in enumerate(self._schema):
            if field.nullable and has_nan(group.column(at)):
                numbers = group.column(at)
                nothing = pa.scalar(None, field.type)
                group = group.set_column(
                    at, field, pc.if_else(pc.is_nan(numbers), nothing, numbers)
                )
        return group

    def close(self) -> DataFile:
        self._writer.close()
        content = memoryview(self._sink.getvalue())
        self._take_bounds_of_texts(pq.read_metadata(pa.BufferReader(content)))
        sha256 = hashlib.sha256(content).hexdigest()
        name = f"part-{uuid.uuid4().hex}-{sha256}.parquet"
        return DataFile(name, content, self._rows, json.dumps(self._statistics()))

    def _take_bounds_of_texts(self, footer: pq.FileMetaData) -> None:
        # Parquet's writer has compared every text already; to do it again takes longer than all
        # else here.
        places = {footer.schema.column(at).path: at for at in range(footer.num_columns)}
        for name in self._texts:
            if self._nulls[name] == self._rows:
                continue
            found = [
                footer.row_group(group).column(places[name]).statistics
                for group in range(footer.num_row_groups)
            ]
            known = [group for group in found if group is not None and group.has_min_max]
            least = min((group.min for group in known), default="")
            greatest = max((group.max for group in known), default=_GREATEST_CHARACTER)
            # A row group says nothing if its bounds were not asked for or are very long texts; or
            # if all is null, which is rare enough to be taken for the same.
            every = len(known) == len(found)
            self._bounds[name] = (least, greatest) if every else ("", _GREATEST_CHARACTER)

    def _statistics(self) -> dict[str, Any]:
        bounds = {name: pair for name, pair in self._bounds.items() if name not in self._unbounded}
        return {
            "numRecords": self._rows,
            "minValues": {name: _at_least(least) for name, (least, _) in bounds.items()},
            "maxValues": {name: _at_most(most) for name, (_, most) in bounds.items()},
            "nullCount": self._nulls,
        }


def _at_least(value: Any) -> Any:
    """A lower bound as the log writes it."""
    if isinstance(value, str):
        return value[:_LONGEST_BOUND]
    return _milliseconds(value) if isinstance(value, datetime) else value


def _at_most(value: Any) -> Any:
    """An upper bound as the log writes it."""
    if isinstance(value, str) and len(value) > _LONGEST_BOUND:
        return value[:_LONGEST_BOUND] + _GREATEST_CHARACTER
    # Cut off as well: readers know, and add a millisecond.
    return _milliseconds(value) if isinstance(value, datetime) else value


def _milliseconds(time: datetime) -> str:
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")
