"""SQL over the lake: a DuckDB session with one view per table, and queries that only read."""

import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa
from deltalake import DeltaTable

from storage.errors import QueryRefusedError, QueryTimeoutError, UnknownTableError
from storage.schemas import TABLES, UNIT_TABLES

if TYPE_CHECKING:
    from storage.lake import Lake

_CONFIG: dict[str, str | bool | int | float | list[str]] = {
    "python_enable_replacements": False,  # a Python variable must not pose as a table
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
}
_READING = {duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN}


def connect(lake: "Lake", versions: Mapping[str, int] | None = None) -> duckdb.DuckDBPyConnection:
    """Open a DuckDB session in memory with one view per table of the lake.

    Tables that units of work write show only the rows of finished units; of segments, an image
    that two units finished with the same model, parameters and labels shows those of one unit.
    The schema `stored` holds the same views with every row that is stored. A table that was never
    written is empty. The views stay at the versions that were newest when the session was opened.

    Args:
        lake: The tables.
        versions: Older versions to read instead, by table.

    Raises:
        UnknownTableError: If one of these is no table of the lake.
        UnknownVersionError: If a table has no such version.
    """
    return _session(lake, versions or {}, in_process=not lake.is_local)


def read_only_query(
    lake: "Lake",
    sql: str,
    parameters: Sequence[Any] | Mapping[str, Any] | None = None,
    *,
    versions: Mapping[str, int] | None = None,
    timeout_seconds: float | None = None,
) -> pa.Table:
    """Run one SQL statement of a stranger against the lake; it can read the tables and no more.

    The session reaches no file and no network by itself and cannot be reconfigured. It gets the
    tables' rows from this process, because DuckDB lets a query overwrite any file that it may
    read: `WITH x AS (COPY ... TO ...) SELECT ...` is a SELECT.

    Args:
        lake: The tables.
        sql: One SELECT, DESCRIBE, SUMMARIZE, SHOW or EXPLAIN.
        parameters: Values of `?` (a sequence) or `$name` (a mapping) in the SQL.
        versions: Older versions to read instead, by table.
        timeout_seconds: When to stop the query; None lets it run.

    Raises:
        QueryRefusedError: If it is not one statement, or one that does not read.
        QueryTimeoutError: If it was stopped.
        duckdb.Error: If the SQL is wrong.
    """
    with _session(lake, versions or {}, in_process=True) as session:
        session.execute("SET enable_external_access = false")
        session.execute("SET lock_configuration = true")
        _check_reads_only(session, sql)
        timer = threading.Timer(timeout_seconds or 0, session.interrupt)
        if timeout_seconds is not None:
            timer.start()
        try:
            return session.sql(sql, params=parameters).to_arrow_table()
        except duckdb.InterruptException:
            if timeout_seconds is None or timer.is_alive():
                raise
            raise QueryTimeoutError(timeout_seconds) from None
        finally:
            timer.cancel()


def _session(
    lake: "Lake", versions: Mapping[str, int], *, in_process: bool
) -> duckdb.DuckDBPyConnection:
    if unknown := versions.keys() - TABLES.keys():
        raise UnknownTableError(min(unknown), TABLES)
    session = duckdb.connect(":memory:", config=_CONFIG)
    session.execute("SET TimeZone = 'UTC'")
    session.execute("CREATE SCHEMA stored")
    # Units first: whatever they name was committed before them, and is seen by the later reads.
    for table in sorted(TABLES, key=lambda name: name != "units"):
        stored = lake.table(table, versions.get(table))
        source = _source(session, lake, table, stored, in_process=in_process)
        session.execute(f'CREATE VIEW stored."{table}" AS {_select(table, stored, source)}')
    for table in TABLES:
        session.execute(f'CREATE VIEW main."{table}" AS {_committed(table)}')
    return session


def _source(
    session: duckdb.DuckDBPyConnection,
    lake: "Lake",
    table: str,
    stored: DeltaTable | None,
    *,
    in_process: bool,
) -> str | None:
    """Return the SQL of a table's live rows, or None where there are none."""
    if stored is None:
        return None
    files = lake.live_files(stored)
    if not files:
        return None
    if in_process:
        session.register(f"dataset_{table}", stored.to_pyarrow_dataset())
        return f'"dataset_{table}"'
    listed = ", ".join(_quoted(file) for file in files)
    return f"read_parquet([{listed}], union_by_name = true)"


def _select(table: str, stored: DeltaTable | None, source: str | None) -> str:
    known = set() if stored is None else set(pa.schema(stored.schema().to_arrow()).names)
    columns = ", ".join(
        f"CAST({_quoted_name(field.name) if field.name in known and source else 'NULL'} "
        f"AS {_sql_type(field.type)}) AS {_quoted_name(field.name)}"
        for field in TABLES[table]
    )
    return f"SELECT {columns} FROM {source}" if source else f"SELECT {columns} WHERE false"


def _committed(table: str) -> str:
    rows = f'SELECT * FROM stored."{table}"'
    if table not in UNIT_TABLES:
        return rows
    if table in ("segments", "image_labels"):
        # Two runs at once may have cut one image in batches of different members: then the first
        # counts. There is hardly ever one, and to leave out nothing costs nothing.
        return (
            "WITH claims AS (SELECT unnest(image_ids) AS image_id, unit_id, committed_at, model_id,"
            "  params_id, label_set_id FROM stored.units WHERE stage = 'segment'),"
            " doubled AS (SELECT image_id, model_id, params_id, label_set_id,"
            "  min_by(unit_id, (committed_at, unit_id)) AS first_unit"
            "  FROM claims GROUP BY ALL HAVING count(*) > 1),"
            " superseded AS (SELECT image_id, unit_id FROM claims"
            "  JOIN doubled USING (image_id, model_id, params_id, label_set_id)"
            "  WHERE unit_id <> first_unit)"
            f" {rows} SEMI JOIN stored.units USING (unit_id)"
            " ANTI JOIN superseded USING (image_id, unit_id)"
        )
    committed = f"{rows} WHERE unit_id IN (SELECT unit_id FROM stored.units)"
    if table == "annotations":
        # The files at a place may have been changed: then they are another drop.
        return (
            "WITH ingested AS (SELECT dataset, prefix, drop_id, sealed_at FROM stored.drops"
            "  WHERE drop_id IN (SELECT subject FROM stored.units WHERE stage = 'ingest')),"
            " newest AS (SELECT dataset, max_by(drop_id, (sealed_at, drop_id)) AS drop_id"
            "  FROM ingested GROUP BY dataset, prefix),"
            " replaced AS (SELECT dataset, drop_id FROM ingested"
            "  EXCEPT SELECT dataset, drop_id FROM newest)"
            f" {committed} AND (dataset, drop_id) NOT IN (SELECT (dataset, drop_id) FROM replaced)"
        )
    return committed


def _check_reads_only(session: duckdb.DuckDBPyConnection, sql: str) -> None:
    statements = session.extract_statements(sql)
    if len(statements) != 1:
        raise QueryRefusedError(f"Expected one SQL statement, but got {len(statements)}")
    if statements[0].type not in _READING:
        raise QueryRefusedError(
            f"Expected a statement that reads, but got {statements[0].type.name}"
        )


def _sql_type(kind: pa.DataType) -> str:
    if pa.types.is_list(kind):
        return _sql_type(kind.value_type) + "[]"
    if pa.types.is_struct(kind):
        members = ", ".join(f"{_quoted_name(field.name)} {_sql_type(field.type)}" for field in kind)
        return f"STRUCT({members})"
    if pa.types.is_timestamp(kind):
        return "TIMESTAMPTZ"
    return {
        pa.string(): "VARCHAR",
        pa.int64(): "BIGINT",
        pa.float64(): "DOUBLE",
        pa.bool_(): "BOOLEAN",
    }[kind]


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _quoted_name(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
