"""SQL over the lake: a DuckDB session with one view per table, and queries that only read."""

import re
import shutil
import threading
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa
import pyarrow.dataset as ds
from deltalake import DeltaTable

from storage.errors import (
    QueryParametersError,
    QueryRefusedError,
    QueryResultTooLargeError,
    QueryTimeoutError,
    UnknownColumnError,
    UnknownTableError,
    UnreadableTableError,
)
from storage.queries import named_query
from storage.schemas import TABLES
from storage.unit_lives import retractions
from storage.versions import Versions, open_version
from storage.views import (
    MAY_BE_CLAIMED_TWICE,
    SUPERSEDED,
    committed_rows,
    quoted,
    schema_drifts,
    stored_rows,
)

if TYPE_CHECKING:
    from storage.lake import Lake

_CONFIG: dict[str, str | bool | int | float | list[str]] = {
    "python_enable_replacements": False,  # a Python variable must not pose as a table
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
}
_READING = {duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN}
_MOST_ANSWER_BYTES = 1 << 30
_MOST_SPILLED_BYTES = 32 << 30
_BATCH_ROWS = 65_536
_LAST_VERSION = 2**63 - 1
# What EXPLAIN begins with; what does not look like this is refused.
_GAP = r"(?>\s|--[^\n]*\n|/\*(?>.*?\*/))*+"
_EXPLAIN = re.compile(
    rf"{_GAP}EXPLAIN\b{_GAP}(?:ANALYZE\b{_GAP})?"
    rf"(?:\({_GAP}(?:ANALYZE|FORMAT)\b[^()]*\){_GAP})?",
    re.IGNORECASE | re.DOTALL,
)
_COLUMN_IN_ERROR = re.compile(r'column (?:named )?"([^"]+)"', re.IGNORECASE)
# A file that Arrow could not read, which DuckDB takes for a fault of the SQL.
_UNREADABLE = re.compile(
    r"reading the stream registered as 'dataset_(\w+)' failed: (?:\w+: )?(.*?)(?:\. Detail: |$)",
    re.DOTALL,
)
_KINDS = {name.lower(): kind for name, kind in vars(duckdb).items() if name.endswith("Exception")}


def connect(lake: "Lake", versions: Versions | None = None) -> duckdb.DuckDBPyConnection:
    """Open a DuckDB session in memory with one view per table of the lake.

    Tables that units of work write show only the rows of finished units; of segments, an image
    that two units finished with the same model, parameters and labels shows those of one unit; an
    image that several drops brought to a dataset is shown once.
    Beside them there are the views of `storage.schemas.VIEWS`, and `decided(version)`, which is
    what `decisions` was at a version of the table reviews.
    The schema `stored` holds the same views with every row that is stored. A table that was never
    written is empty. The views stay at the versions that were newest when the session was opened.

    Args:
        lake: The tables.
        versions: Older versions to read instead, by table.

    Raises:
        UnknownTableError: If one of these is no table of the lake.
        UnknownVersionError: If a table has no such version.
        VersionGoneError: If such a version can no longer be read.
        SchemaDriftError: If a column of any table is stored with another type.
    """
    session, stored = _session(lake, versions or {}, in_process=not lake.is_local)
    if drifts := schema_drifts(stored):
        session.close()
        raise next(iter(drifts.values()))
    return session


def newest_versions(lake: "Lake") -> dict[str, int | None]:
    """The versions of all tables that together are the lake as it is now, to read it so again.

    Args:
        lake: The tables.

    Returns:
        A version by table; None for one that was never written.
    """
    opened = _opened(lake, {})
    return {table: opened[table].version() if table in opened else None for table in TABLES}


def read_only_query(
    lake: "Lake",
    sql: str,
    parameters: Sequence[Any] | Mapping[str, Any] | None = None,
    *,
    versions: Versions | None = None,
    timeout_seconds: float | None = None,
    most_bytes: int = _MOST_ANSWER_BYTES,
    spill_folder: str | None = None,
) -> pa.Table:
    """Run one SQL statement of a stranger against the lake; it can read the tables and no more.

    The session reaches no network and no file but those in one folder, and cannot be reconfigured.
    It gets the tables' rows from this process, because DuckDB lets a query overwrite any file that
    it may read: `WITH x AS (COPY ... TO ...) SELECT ...` is a SELECT. The folder is where DuckDB
    puts what does not fit in memory. A query can write files into it as well, until the disk is
    full, and read them again; it is empty before the query and deleted after it.

    Args:
        lake: The tables.
        sql: One SELECT, DESCRIBE, SUMMARIZE or SHOW, or EXPLAIN of one.
        parameters: Values of `?` (a sequence) or `$name` (a mapping) in the SQL.
        versions: Older versions to read instead, by table.
        timeout_seconds: When to stop the query; None lets it run. What DuckDB does in one step
            is stopped after that step.
        most_bytes: Size of the largest answer, in memory.
        spill_folder: An empty folder that the caller deletes; None makes one and deletes it.

    Raises:
        QueryRefusedError: If it is not one statement, or one that does not read.
        QueryParametersError: If the mapping has other names than the SQL.
        QueryTimeoutError: If it was stopped.
        QueryResultTooLargeError: If the answer is too large.
        SchemaDriftError: If it reads a table with a column of another type.
        UnknownColumnError: If it names a column that a newer version of the program wrote.
        UnreadableTableError: If a file of a table is missing or damaged, or the store fails.
        UnknownVersionError, VersionGoneError: As `connect`.
        duckdb.Error: If the SQL is wrong.
    """
    session, stored = _session(lake, versions or {}, in_process=True)
    with ExitStack() as after:
        # Else DuckDB would take the folder where one happens to be.
        spill = spill_folder or after.enter_context(TemporaryDirectory(prefix="segmill-sql-"))
        after.enter_context(session)
        most_spilled = min(_MOST_SPILLED_BYTES, shutil.disk_usage(spill).free // 2)
        session.execute(f"SET temp_directory = {quoted(spill)}")
        session.execute(f"SET max_temp_directory_size = '{most_spilled} B'")
        session.execute("SET enable_external_access = false")
        session.execute("SET lock_configuration = true")
        statement = _reading_statement(session, sql)
        if isinstance(parameters, Mapping) or statement.named_parameters:
            _check_parameters(statement, parameters)
        timer = threading.Timer(timeout_seconds or 0, session.interrupt)
        if timeout_seconds is not None:
            timer.start()
        try:
            return _answer(session, sql, parameters or None, most_bytes)
        except duckdb.InterruptException:
            if timeout_seconds is None or timer.is_alive():
                raise
            raise QueryTimeoutError(timeout_seconds) from None
        except duckdb.Error as error:
            _raise_as_ours(error, stored)
            raise
        finally:
            timer.cancel()


def _answer(
    session: duckdb.DuckDBPyConnection, sql: str, parameters: Any, most_bytes: int
) -> pa.Table:
    reader = session.sql(sql, params=parameters).to_arrow_reader(_BATCH_ROWS)
    batches, size = [], 0
    try:
        for batch in reader:
            batches.append(batch)
            size += batch.nbytes
            if size > most_bytes:
                raise QueryResultTooLargeError(most_bytes)
    except OSError as error:
        # Arrow passes DuckDB's errors on by their text.
        kind, _, _ = str(error).partition(" Error:")
        name = f"{kind.replace(' ', '')}Exception".lower()
        raise _KINDS.get(name, duckdb.Error)(str(error)) from None
    return pa.Table.from_batches(batches, reader.schema)


def _session(
    lake: "Lake", versions: Versions, *, in_process: bool
) -> tuple[duckdb.DuckDBPyConnection, dict[str, DeltaTable]]:
    """Open a session, and say what its views read: the tables that are stored."""
    if unknown := versions.keys() - TABLES.keys():
        raise UnknownTableError(min(unknown), TABLES)
    session = duckdb.connect(":memory:", config=_CONFIG)
    session.execute("SET TimeZone = 'UTC'")
    session.execute("SET parquet_metadata_cache = true")  # no file is ever changed
    session.execute("CREATE SCHEMA stored")
    opened = _opened(lake, versions)
    for table in TABLES:
        stored = opened.get(table)
        source = _source(session, lake, table, stored, in_process=in_process)
        _create_stored_view(session, table, stored, source)
    superseded = _superseded(session, opened)
    for table in TABLES:
        session.execute(f'CREATE VIEW main."{table}" AS {committed_rows(table, superseded)}')
    _create_named_views(session)
    return session, opened


def _create_named_views(session: duckdb.DuckDBPyConnection) -> None:
    decided = named_query("decided").replace("$until", "until")
    session.execute(f"CREATE MACRO main.decided(until) AS TABLE {decided}")
    session.execute(f"CREATE VIEW main.decisions AS FROM decided({_LAST_VERSION})")
    for view in ("curated", "newest_cuts"):
        session.execute(f"CREATE VIEW main.{view} AS {named_query(view)}")


def _create_stored_view(
    session: duckdb.DuckDBPyConnection, table: str, stored: DeltaTable | None, source: str | None
) -> None:
    create = f'CREATE VIEW stored."{table}" AS '
    try:
        session.execute(create + stored_rows(table, stored, source))
    except duckdb.BinderException:
        if source is None:
            raise
        # The table may have a column that none of its files has: nothing was written with it yet,
        # or all that was is withdrawn. That is rare, and to look for it takes time.
        in_files = session.sql(f"FROM {source}").columns
        session.execute(create + stored_rows(table, stored, source, in_files))


def _superseded(session: duckdb.DuckDBPyConnection, opened: Mapping[str, DeltaTable]) -> str | None:
    """Note the images of units that another unit finished before; None if there are none."""
    if "units" not in opened or "units" in schema_drifts(opened):
        return None
    if session.execute(MAY_BE_CLAIMED_TWICE).fetchall() == [(False,)]:
        return None
    session.execute(f"CREATE TEMP TABLE superseded AS {SUPERSEDED}")
    return "temp.superseded"


def _opened(lake: "Lake", versions: Versions) -> dict[str, DeltaTable]:
    """Open the tables that are stored, so that together they are as at one moment."""
    while True:
        opened = {}
        # Units first: whatever they name was committed before them, and is seen by later reads.
        for table in sorted(TABLES, key=lambda name: name != "units"):
            stored = open_version(lake, table, versions)
            if stored is not None:
                opened[table] = stored
        # Unless it was retracted meanwhile: then these units may name rows that are gone.
        if "units" in versions or retractions(lake.table("units")) == retractions(
            opened.get("units")
        ):
            return opened


def _raise_as_ours(error: duckdb.Error, stored: Mapping[str, DeltaTable]) -> None:
    """Raise what a person can act on, if a table or its files are the cause; else return."""
    if isinstance(error, duckdb.InvalidInputException):
        for drift in schema_drifts(stored).values():
            if str(drift) in str(error):
                raise drift from None
        if unreadable := _UNREADABLE.search(str(error)):
            raise UnreadableTableError(unreadable[1], " ".join(unreadable[2].split())) from None
    if isinstance(error, duckdb.BinderException):
        named = {name.lower() for name in _COLUMN_IN_ERROR.findall(str(error))}
        for table, opened in stored.items():
            newer = set(pa.schema(opened.schema().to_arrow()).names) - set(TABLES[table].names)
            for column in sorted(newer):
                if column.lower() in named:
                    raise UnknownColumnError(table, column) from None


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
        session.register(f"dataset_{table}", live_dataset(stored))
        return f'"dataset_{table}"'
    listed = ", ".join(quoted(file) for file in files)
    return f"read_parquet([{listed}], union_by_name = true)"


def live_dataset(stored: DeltaTable) -> ds.FileSystemDataset:
    """The live files of an opened table, which Arrow skips by what the files themselves say.

    What the table's log says of them is left out: where it knows no least value of a column, which
    is allowed, deltalake makes of that a condition that no row fulfils.
    """
    found = stored.to_pyarrow_dataset()
    files = [found.format.make_fragment(file, found.filesystem) for file in found.files]
    return ds.FileSystemDataset(files, found.schema, found.format, found.filesystem)


def _reading_statement(session: duckdb.DuckDBPyConnection, sql: str) -> duckdb.Statement:
    statements = session.extract_statements(sql)
    if len(statements) != 1:
        raise QueryRefusedError(f"Expected one SQL statement, but got {len(statements)}")
    if statements[0].type not in _READING:
        raise QueryRefusedError(
            f"Expected a statement that reads, but got {statements[0].type.name}"
        )
    if statements[0].type is duckdb.StatementType.EXPLAIN:
        # EXPLAIN ANALYZE does what it explains.
        prefix = _EXPLAIN.match(sql)
        explained = session.extract_statements(sql[prefix.end() :]) if prefix else []
        if [statement.type for statement in explained] != [duckdb.StatementType.SELECT]:
            raise QueryRefusedError("Expected EXPLAIN of a statement that reads")
    return statements[0]


def _check_parameters(
    statement: duckdb.Statement, parameters: Sequence[Any] | Mapping[str, Any] | None
) -> None:
    # As DuckDB, which takes $Limit for $limit.
    named = {name.lower() for name in statement.named_parameters}
    if isinstance(parameters, Mapping):
        given = {name.lower() for name in parameters}
    else:
        given = {str(number) for number, _ in enumerate(parameters or (), start=1)}
    if given != named:
        raise QueryParametersError(named - given, given - named, named)
