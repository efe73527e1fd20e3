"""segmill sql: values, files, what must not work, and what must do no harm."""

import csv
import io
import json
import os
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.lakes import cut, image_row, ingest, segment_row

PROJECT = Path(__file__).parents[2]
LABELS = {
    "quotes": 'it\'s "quoted", twice',
    "script": "<script>alert(1)</script>",
    "formula": '=HYPERLINK("http://x","y")',
    "at": "@SUM(1)",
    "tab": "\t=1+1",
    "newline": "\n=1+1",
    "wide formula": "\uff1d1+1",
    "long": "x" * 10_000,
    "right to left": "\u05d0\u05d1\u05d2 \u202egnp.exe",
    "terminal": "\x1b[2J\x1b]0;owned\x07red",
    "markup": "[bold red]label[/]",
    "empty": "",
}


def test_values_are_given_by_name_with_their_type(command):
    sql = "SELECT $a AS a, $b AS b, $c AS c, $d AS d, $e AS e"
    values = ("a=1", "b=0.5", "c=true", "d=null", "e=it's = $1; --")
    options = [part for value in values for part in ("--param", value)]
    (row,) = command("sql", sql, *options, "--format", "json").json()
    assert row == {"a": 1, "b": 0.5, "c": True, "d": None, "e": "it's = $1; --"}


def test_a_value_is_never_sql(command, lake):
    ingest(lake, "drop", [image_row("a")])
    found = command(
        "sql", "SELECT count(*) AS n FROM images WHERE image_id = $id", "--param",
        "id=x' OR 1=1 --", "--format", "json",
    )  # fmt: skip
    assert found.json() == [{"n": 0}]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["SELECT $a"], "$a has no value. The parameters of this SQL: $a"),
        (["SELECT $a", "--param", "a=1", "--param", "b=2"], "a value for $b is not used"),
        (["SELECT 1", "--param", "a=1"], "The parameters of this SQL: none"),
        (["SELECT ?"], "$1 has no value"),
        (["SELECT $a", "--param", "a"], "expected NAME=VALUE, but got 'a'"),
        (["SELECT $a", "--param", "=1"], "expected NAME=VALUE"),
        (["SELECT $a", "--param", "a b=1"], "expected NAME=VALUE"),
        (["SELECT $a", "--param", "a=1", "--param", "a=2"], "a is given twice"),
        ([], "as an argument or --file, but got neither"),
        (["SELECT 1", "--file", "x.sql"], "but got both"),
        (["--file", "missing.sql"], "no such file: missing.sql"),
        (["--file", "binary.sql"], "expected SQL in UTF-8, but byte 7 of binary.sql is none"),
        (["--file", "large.sql"], "at most 1024 KiB"),
        (["--file", "."], "no such file"),
        (["SELECT 1", "--as-of", "2999-01-01"], "Expected a time that is past"),
        (["SELECT 1", "--as-of", "soon"], "Expected TABLE=VERSION, or a time such as 2026-11-01"),
        (["SELECT 1", "--as-of", "pages=1"], "Unknown table 'pages'"),
        (["SELECT 1", "--timeout", "0"], "Invalid value for '--timeout'"),
        (["SELECT no_such FROM segments"], '"no_such" not found'),
    ],
)
def test_wrong_use_is_told_in_a_sentence(command, tmp_path, arguments, told):
    (tmp_path / "binary.sql").write_bytes(b"SELECT \xff")
    (tmp_path / "large.sql").write_bytes(b" " * (2 << 20))
    answer = command("sql", *arguments)
    assert answer.code == 2
    assert answer.data == b""
    assert told in answer.err
    assert "Traceback" not in answer.err


def test_sql_is_read_from_a_file(command, tmp_path):
    # As an editor on Windows writes it.
    (tmp_path / "q.sql").write_bytes(
        "\ufeff-- Einen Größenvergleich\r\nSELECT $a AS a;\r\n".encode()
    )
    assert command("sql", "-f", "q.sql", "--param", "a=7", "--format", "json").json() == [{"a": 7}]


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE TABLE t AS SELECT 1",
        "INSERT INTO segments SELECT * FROM segments",
        "DELETE FROM segments",
        "UPDATE segments SET label = 'x'",
        "DROP VIEW segments",
        "COPY segments TO 'out.csv'",
        "WITH x AS (COPY (SELECT 1) TO 'out.csv') SELECT 1",
        "EXPORT DATABASE 'out'",
        "ATTACH 'out.db'",
        "ATTACH ':memory:' AS other",
        "SELECT * FROM read_text('/etc/passwd')",
        "SELECT * FROM '/etc/passwd'",
        "SELECT * FROM read_parquet('https://example.org/x.parquet')",
        "SELECT * FROM glob('/*')",
        "SELECT getenv('HOME')",
        "INSTALL httpfs",
        "LOAD httpfs",
        "SET enable_external_access = true",
        "PRAGMA enable_profiling",
        "SELECT 1; SELECT 2",
        "SELECT 1; DROP VIEW segments",
        "/* nothing but a comment */",
        "",
        "\x00",
        "SELECT '",
        "SELECT " + "(" * 5000 + "1" + ")" * 5000,
    ],
)
def test_sql_that_does_more_than_read_the_tables_is_refused(command, lake, tmp_path, sql):
    ingest(lake, "drop", [image_row("a")])
    before = sorted(tmp_path.rglob("*"))
    answer = command("sql", sql)
    assert answer.code == 2, answer.err
    assert answer.data == b""
    assert answer.err.startswith("wrong use: ")
    assert "root:" not in answer.err
    assert sorted(tmp_path.rglob("*")) == before


def test_a_query_that_runs_for_ever_is_stopped(command):
    sql = "WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t) SELECT max(n) FROM t"
    answer = command("sql", sql, "--timeout", "0.3")
    assert answer.code == 1
    assert "stopped after 0.3 s; ask for less, or allow it more time" in answer.err


def test_a_query_that_does_not_stop_is_killed_and_leaves_nothing_behind(tmp_path):
    # One step of DuckDB, which takes hours.
    sql = "SELECT levenshtein(repeat('a', 2000000), repeat('b', 2000000))"
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "app.cli", "sql", sql, "--timeout", "0.2", "--root", tmp_path],
        capture_output=True, text=True, cwd=PROJECT, timeout=60,
        env=os.environ | {"TMPDIR": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 1
    assert list(tmp_path.glob("segmill-sql-*")) == []
    assert "was killed after 5.2 s" in done.stderr
    assert time.monotonic() - started < 45


@pytest.fixture
def labelled(command, lake):
    """The command on a lake whose labels are what an attacker would choose."""
    ingest(lake, "drop", [image_row("a")])
    cut(lake, "batch", ["a"], [segment_row("a", label) for label in LABELS.values()])
    return command


def test_labels_come_out_of_json_and_parquet_as_they_are(labelled):
    sql = "SELECT label FROM segments"
    rows = labelled("sql", sql, "--format", "json").json()
    assert {row["label"] for row in rows} == set(LABELS.values())
    data = labelled("sql", sql, "--format", "parquet").data
    found = pq.read_table(pa.BufferReader(data))["label"].to_pylist()
    assert set(found) == set(LABELS.values())


def test_labels_come_out_of_csv_with_formulas_disarmed(labelled):
    out = labelled("sql", "SELECT label FROM segments", "--format", "csv").out
    found = {row[0] for row in csv.reader(io.StringIO(out, newline=""))} - {"label"}
    armed = {LABELS[name] for name in ("formula", "at", "tab", "newline", "wide formula")}
    rest = set(LABELS.values()) - armed - {""}
    assert found - {""} == rest | {f"'{label}" for label in armed}


def test_labels_in_a_table_cannot_command_the_terminal(labelled):
    out = labelled("sql", "SELECT label FROM segments").out
    assert "\x1b" not in out and "\x07" not in out and "\u202e" not in out
    shown = "".join(out.split())
    for part in ("\\x1b[2J", "\\u202egnp", "[boldred]label[/]", "<script>", "(10,000characters)"):
        assert part in shown
    assert len(out) < 20_000


def test_labels_as_names_of_columns_do_no_harm(labelled):
    sql = "PIVOT segments ON label IN ('=HYPERLINK(\"http://x\",\"y\")', '\x1b[2J') USING count(*)"
    for form in ("csv", "table", "json"):
        answer = labelled("sql", sql, "--format", form)
        assert answer.code == 0
        if form == "csv":
            assert "'=HYPERLINK" in answer.out
        if form == "table":
            assert "\x1b" not in answer.out


def test_labels_are_found_by_their_text(labelled):
    for label in LABELS.values():
        answer = labelled(
            "sql", "SELECT count(*) AS n FROM segments WHERE label = $label", "--param",
            f"label={json.dumps(label)}", "--format", "json",
        )  # fmt: skip
        assert answer.json() == [{"n": 1}], label


def test_numbers_are_numbers_in_json(command):
    sql = "SELECT sum(n) AS s, 1.5 AS d, 'nan'::DOUBLE AS x, [1.5, 2] AS l FROM range(3) t(n)"
    assert command("sql", sql, "--format", "json").json() == [
        {"s": 3, "d": 1.5, "x": None, "l": [1.5, 2]}
    ]


def test_columns_of_one_name_are_all_there(command):
    sql = "SELECT 1 AS a, 2 AS a, 3 AS b"
    assert command("sql", sql, "--format", "json").json() == [{"a": 1, "a_1": 2, "b": 3}]
    assert command("sql", sql, "--format", "csv").out == "a,a,b\n1,2,3\n"
    assert command("sql", sql).out.split()[-3:] == ["1", "2", "3"]


def test_sql_looks_back_to_a_time(command, lake):
    ingest(lake, "drop-1", [image_row("a")])
    time.sleep(0.005)
    moment = datetime.now(UTC).isoformat()
    time.sleep(0.005)
    ingest(lake, "drop-2", [image_row("b")])
    sql = "SELECT count(*) AS n FROM images"
    for as_of, n in ((moment, 1), ("2020-01-01", 0), ("units=1", 1)):
        assert command("sql", sql, "--as-of", as_of, "--format", "json").json() == [{"n": n}]


def test_the_query_of_an_empty_root_answers_nothing(command, root):
    assert command("sql", "SELECT * FROM segments", "--format", "json").json() == []
    assert not root.exists()
