"""Compare the files of the tables with what was written: a flipped bit, a lost file, a stray."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake.exceptions import DeltaError

from storage.errors import DamagedFileError
from storage.rewriting import list_files, read_content

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
    """

    table: str
    files: int = 0
    size_bytes: int = 0
    damaged: dict[str, str] = field(default_factory=dict)
    without_checksum: tuple[str, ...] = ()
    strays: tuple[str, ...] = ()


def verify_table(
    lake: "Lake", table: str, on_file: Callable[[str], None] | None = None
) -> TableVerification:
    """Read every live file of a table and compare it with the checksum in its name.

    Args:
        lake: The tables.
        table: Name of the table.
        on_file: Called with the name of each file when it is read.

    Raises:
        UnknownTableError: If the lake has no such table.
    """
    try:
        stored = lake.table(table)
    except DeltaError as error:
        log = lake.objects.uri(f"{table}/_delta_log")
        return TableVerification(table, damaged={log: f"the log cannot be read: {error}"})
    if stored is None:
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
    unneeded = set(stored.vacuum(0, enforce_retention_duration=False, full=True))
    replaced = set(stored.vacuum(0, enforce_retention_duration=False))
    return TableVerification(
        table,
        files=len(live),
        size_bytes=size_bytes,
        damaged=damaged,
        without_checksum=tuple(without_checksum),
        strays=tuple(lake.objects.uri(f"{table}/{name}") for name in sorted(unneeded - replaced)),
    )


def _unreadable(content: bytes) -> str | None:
    try:
        pq.read_table(pa.BufferReader(content))
    except (pa.ArrowException, OSError) as error:
        return str(error)
    return None
