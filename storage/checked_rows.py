"""All rows of a small table, without SQL: of one version, and as they were written.

For tables that decide something, such as which model is live: a row that is lost or changed is an
error there, and never another decision.
"""

from typing import TYPE_CHECKING, Any

from storage.rewriting import list_files, read_rows
from storage.rows import check_stored_schema
from storage.schemas import TABLES
from storage.table_logs import check_log_is_there

if TYPE_CHECKING:
    from storage.lake import Lake


def read_checked(lake: "Lake", table: str) -> list[dict[str, Any]]:
    """Read every row of the newest version of a table that no units of work write.

    Columns that the stored rows lack are None.

    Raises:
        UnknownTableError: If the lake has no such table.
        DamagedFileError: If a file is missing or holds other bytes than were written, or the log
            is missing.
        SchemaDriftError: If a column is stored with another type.
        deltalake.exceptions.DeltaError: If the log cannot be read.
    """
    stored = lake.table(table)
    if stored is None:
        check_log_is_there(lake, table)
        return []
    check_stored_schema(table, stored)
    rows: list[dict[str, Any]] = []
    for file in list_files(stored):
        rows += read_rows(lake, table, file, TABLES[table]).to_pylist()
    return rows
