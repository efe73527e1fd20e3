"""Compare the tables with what was written: a flipped bit, a lost file or commit, a stray."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake.exceptions import DeltaError

from storage.errors import DamagedFileError
from storage.rewriting import list_files, read_content
from storage.strays import unfinished_files, unknown_files
from storage.table_logs import check_log_begins_before, check_log_is_there, unreadable_log

if TYPE_CHECKING:
    from storage.lake import Lake


@dataclass(frozen=True)
class TableVerification:
    """What was found in a table.

    Attributes:
        table: Name of the table.
        files: Live files that were read.
        size_bytes: Their size together, bytes.
        damaged: Files that are missing or hold other bytes than were written: the reason by URI.
        without_checksum: URIs of files that another program wrote; they can be read, but a flip in
            their data may not show. Maintenance writes them anew, with a checksum.
        strays: URIs of files that no version of the table names: a commit is under way, or its
            writer died. Maintenance deletes them after the retention.
        lost_units: Finished units of work whose commit the table's log does not have; filled in
            from `storage.table_logs.lost_units`, because it takes all tables to know.
    """

    table: str
    files: int = 0
    size_bytes: int = 0
    damaged: dict[str, str] = field(default_factory=dict)
    without_checksum: tuple[str, ...] = ()
    strays: tuple[str, ...] = ()
    lost_units: tuple[str, ...] = ()


def verify_table(
    lake: "Lake", table: str, on_file: Callable[[str], None] | None = None
) -> TableVerification:
    """Read every live file of a table and compare it with the checksum in its name.

    A log that is missing, cannot be read or began again is a finding like any other.

    Args:
        lake: The tables.
        table: Name of the table.
        on_file: Called with the name of each file when it is read.

    Raises:
        UnknownTableError: If the lake has no such table.
    """
    try:
        return _verify(lake, table, on_file)
    except DeltaError as error:
        damage = unreadable_log(lake, table, error)
    except DamagedFileError as error:
        damage = error
    return TableVerification(table, damaged={damage.uri: damage.reason})


def _verify(lake: "Lake", table: str, on_file: Callable[[str], None] | None) -> TableVerification:
    stored = lake.table(table)
    if stored is None:
        check_log_is_there(lake, table)
        return TableVerification(table)
    size_bytes, damaged, without_checksum = 0, {}, []
    live = list_files(stored)
    for file in live:
        uri = lake.objects.uri(f"{table}/{file.name}")
        try:
            content = read_content(lake, table, file)
        except DamagedFileError as error:
            damaged[uri] = error.reason
        else:
            size_bytes += len(content)
            if not file.has_checksum:
                without_checksum.append(uri)
                if reason := _unreadable(content):
                    damaged[uri] = reason
        if on_file:
            on_file(file.name)
    strays = unknown_files(stored)
    try:
        check_log_begins_before(lake, table, stored, strays)
    except DamagedFileError as error:
        damaged[error.uri] = error.reason
    uris = [lake.objects.uri(f"{table}/{name}") for name in sorted(strays)]
    return TableVerification(
        table,
        files=len(live),
        size_bytes=size_bytes,
        damaged=damaged,
        without_checksum=tuple(without_checksum),
        strays=(*uris, *map(str, unfinished_files(lake, table))),
    )


def _unreadable(content: bytes) -> str | None:
    try:
        pq.read_table(pa.BufferReader(content))
    except (pa.ArrowException, OSError) as error:
        return str(error)
    return None
