"""SQL of others: what is answered, refused, stopped, and told of mistakes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from storage.errors import (
    QueryParametersError,
    QueryRefusedError,
    QueryResultTooLargeError,
    QueryTimeoutError,
    UnknownTableError,
    UnknownVersionError,
)
from storage.lake import Lake
from storage.session import connect, read_only_query

Row = Callable[..., dict[str, Any]]


def test_values_are_bound_and_never_become_sql(local_lake: Lake):
    evil = "'); DROP VIEW segments; --"
    assert read_only_query(local_lake, "SELECT ? AS x", [evil])["x"].to_pylist() == [evil]
    assert read_only_query(local_lake, "SELECT $a AS x", {"a": evil})["x"].to_pylist() == [evil]


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 1 AS x",
        "FROM range(1)",
        "WITH a AS (SELECT 1) SELECT * FROM a",
        "DESCRIBE segments",
        "SHOW TABLES",
        "SUMMARIZE segments",
        "EXPLAIN SELECT * FROM segments",
        "EXPLAIN (SELECT 1)",
        "/* plan */ EXPLAIN ANALYZE SELECT * FROM segments;",
        "EXPLAIN (ANALYZE, FORMAT json) SELECT 1",
        "PIVOT (SELECT 'a' AS k, 1 AS v) ON k IN ('a') USING sum(v)",
        "SELECT 1; ",
    ],
)
def test_statements_that_read_are_answered(local_lake: Lake, sql: str):
    assert read_only_query(local_lake, sql).num_rows >= 1


@pytest.mark.parametrize(
    "sql",
    [
        "",
        "-- nothing",
        "SELECT 1; SELECT 2",
        "CREATE TABLE t (i INT)",
        "DROP VIEW segments",
        "SET threads = 1",
        "PRAGMA database_list",
        "ATTACH '{folder}/new.db'",
        "COPY (SELECT 1) TO '{folder}/new.csv'",
        "EXPORT DATABASE '{folder}/new'",
        "INSTALL httpfs",
        "LOAD json",
        "CALL pragma_version()",
        "EXPLAIN ANALYZE COPY (SELECT 1) TO '{folder}/new.csv'",
        "EXPLAIN (ANALYZE) COPY (SELECT 1) TO '{folder}/new.csv'",
        "/* plan */ EXPLAIN -- it\nANALYZE (FORMAT json) CREATE TABLE t AS SELECT 1",
    ],
)
def test_statements_that_do_more_than_read_are_refused(local_lake: Lake, sql: str):
    with pytest.raises(QueryRefusedError):
        read_only_query(local_lake, sql.format(folder=local_lake.root))


@pytest.mark.parametrize(
    "sql",
    [
        # DuckDB calls each of these a statement that reads.
        "WITH x AS (COPY (SELECT 1) TO '{folder}/new.csv') SELECT 1",
        "WITH x AS (COPY (SELECT 1) TO '{file}') SELECT 1",
        "SELECT * FROM read_parquet('{file}')",
        "SELECT * FROM '{file}'",
        "SELECT * FROM read_text('/etc/hostname')",
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM glob('/*')",
        "SELECT * FROM read_json('http://127.0.0.1:9/x')",
        "SELECT * FROM query('WITH x AS (COPY (SELECT 1) TO ''{folder}/new.csv'') SELECT 1')",
    ],
)
def test_no_statement_reaches_a_file_not_even_of_the_lake(local_lake: Lake, segment: Row, sql: str):
    local_lake.append("segments", [segment()], "unit")
    (file,) = local_lake.file_uris("segments")
    before = {p: p.read_bytes() for p in Path(local_lake.root).rglob("*") if p.is_file()}
    with pytest.raises(duckdb.Error):
        read_only_query(local_lake, sql.format(folder=local_lake.root, file=file))
    after = {p: p.read_bytes() for p in Path(local_lake.root).rglob("*") if p.is_file()}
    assert after == before


def test_a_python_variable_is_no_table(local_lake: Lake):
    secrets = pa.table({"a": [1]})
    with connect(local_lake) as session, pytest.raises(duckdb.CatalogException):
        session.sql("SELECT * FROM secrets").fetchall()
    assert secrets.num_rows == 1


def test_a_query_that_takes_too_long_is_stopped(local_lake: Lake):
    with pytest.raises(QueryTimeoutError, match=r"0\.2 s"):
        read_only_query(
            local_lake,
            "SELECT count(*) FROM range(1000000000) a, range(1000000) b",
            timeout_seconds=0.2,
        )


def test_wrong_sql_says_what_is_wrong(local_lake: Lake):
    with pytest.raises(duckdb.BinderException, match="no_such_column"):
        read_only_query(local_lake, "SELECT no_such_column FROM segments")


def test_a_version_or_table_that_does_not_exist_is_named(local_lake: Lake, segment: Row):
    local_lake.append("segments", [segment()], "unit")
    with pytest.raises(UnknownVersionError, match="no version 9; its newest is 1"):
        read_only_query(local_lake, "SELECT 1", versions={"segments": 9})
    with pytest.raises(UnknownTableError, match="'pages'"):
        read_only_query(local_lake, "SELECT 1", versions={"pages": 1})
    # A table that was never written is empty at any version.
    assert read_only_query(local_lake, "SELECT 1", versions={"images": 9}).num_rows == 1


@pytest.mark.parametrize(
    ("parameters", "told"),
    [
        (None, r"\$a has no value; \$b has no value\. .*: \$a, \$b"),
        ({"a": 1}, r"\$b has no value"),
        ({"a": 1, "b": 2, "c": 3}, r"a value for \$c is not used"),
        ({}, r"\$a has no value"),
    ],
)
def test_values_must_be_those_that_the_sql_names(local_lake: Lake, parameters: Any, told: str):
    with pytest.raises(QueryParametersError, match=told):
        read_only_query(local_lake, "SELECT $a, $b", parameters)


def test_the_case_of_a_parameter_does_not_matter(local_lake: Lake):
    found = read_only_query(local_lake, "SELECT $Most AS n", {"most": 3})
    assert found["n"].to_pylist() == [3]


def test_sql_without_parameters_takes_none(local_lake: Lake):
    with pytest.raises(QueryParametersError, match=r"\$a is not used.*: none"):
        read_only_query(local_lake, "SELECT 1", {"a": 1})
    assert read_only_query(local_lake, "SELECT 1", {}).num_rows == 1


def test_an_answer_that_is_too_large_is_refused_before_it_fills_the_memory(local_lake: Lake):
    with pytest.raises(QueryResultTooLargeError, match="more than 1 MiB; add a LIMIT"):
        read_only_query(local_lake, "SELECT * FROM range(1000000000000)", most_bytes=1 << 20)


def test_a_value_that_cannot_be_read_far_down_is_told_as_one_at_the_top(local_lake: Lake):
    sql = "SELECT CAST(if(range > 200000, 'x', '1') AS INT) FROM range(300000)"
    with pytest.raises(duckdb.ConversionException, match="'x'"):
        read_only_query(local_lake, sql)


def test_what_a_query_spills_does_not_lie_where_one_happens_to_be(
    local_lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    sql = "SELECT current_setting('temp_directory') AS place"
    (place,) = read_only_query(local_lake, sql)["place"].to_pylist()
    assert "segmill-sql-" in place
    assert not Path(place).exists()


def test_a_query_reads_and_writes_files_in_a_folder_of_its_own_only(
    local_lake: Lake, tmp_path: Path
):
    spill = tmp_path / "spill"
    spill.mkdir()
    (tmp_path / "secret").write_text("secret")

    def ask(sql: str) -> list[Any]:
        sql = sql.format(spill=spill)
        return read_only_query(local_lake, sql, spill_folder=str(spill)).to_pylist()

    ask("WITH x AS (COPY (SELECT 1 AS a) TO '{spill}/own.csv') SELECT 1")
    assert ask("SELECT a FROM read_csv('{spill}/own.csv')") == [{"a": 1}]
    before = sorted(tmp_path.rglob("*"))
    for sql in (
        "WITH x AS (COPY (SELECT 1 AS a) TO '{spill}/../new.csv') SELECT 1",
        "SELECT * FROM read_text('{spill}/../secret')",
        "SELECT * FROM glob('{spill}/../*')",
    ):
        with pytest.raises(duckdb.PermissionException):
            ask(sql)
    assert sorted(tmp_path.rglob("*")) == before


def test_what_a_query_spills_is_limited(local_lake: Lake, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("storage.session._MOST_SPILLED_BYTES", 3 << 20)
    sql = "SELECT current_setting('max_temp_directory_size') AS most"
    assert read_only_query(local_lake, sql)["most"].to_pylist() == ["3.0 MiB"]
