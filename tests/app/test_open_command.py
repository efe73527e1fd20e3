"""segmill open: what it prints is run here, where the packages are."""

import itertools
import json
import os
import subprocess
import sys

import boto3
import duckdb
import pytest
from moto.server import ThreadedMotoServer

from storage.lake import Lake
from storage.session import connect
from tests.lakes import cut, image_row, ingest, segment_row

SECRET = "not-to-be-printed"


def fill(lake):
    """Three finished segments, and one of a unit that is not."""
    ingest(lake, "drop", [image_row("a")])
    cut(lake, "batch", ["a"], [segment_row("a", model_id="model") for _ in range(3)])
    lake.append("segments", [segment_row("a")], "unfinished")


def run_python(code, question):
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nprint('answer', {question})"],
        capture_output=True, text=True, env=os.environ, timeout=100,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


@pytest.fixture
def bucket(monkeypatch):
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("SEGMILL_S3_ENDPOINT_URL", f"http://{host}:{port}")
    boto3.client("s3", endpoint_url=f"http://{host}:{port}").create_bucket(Bucket="bucket")
    yield "s3://bucket/some/prefix"
    server.stop()


QUESTION = "session.sql(\"SELECT count(*) FROM segments WHERE model_id = 'model'\").fetchall()"


def test_the_python_program_counts_what_segmill_counts(command, tmp_path):
    odd = tmp_path / "it's an odd röot"
    fill(Lake.open(str(odd)))
    code = command("open", "--root", odd, "--json").json()["python"]
    assert run_python(code, QUESTION) == "answer [(3,)]"


def test_an_image_that_two_drops_brought_is_one(command, lake):
    fill(lake)
    ingest(lake, "another drop", [image_row("a", drop_id="tuesday")])
    question = (
        "session.sql('SELECT count(*) FROM segments JOIN images USING (image_id)').fetchall(), "
        "session.sql('SELECT drop_id FROM images').fetchall()"
    )
    answer = command("open", "--json").json()
    with connect(lake) as session:
        (first,) = session.sql("SELECT drop_id FROM images").fetchall()
    assert run_python(answer["python"], question) == f"answer [(3,)] [{first!r}]"
    assert "An image that several drops brought" in answer["rule"]
    (view,) = (
        sql for sql in duckdb.extract_statements(answer["duckdb"]) if "VIEW images" in sql.query
    )
    # As if the extension were there.
    with connect(lake) as session:
        stored = f"delta_scan('file://{lake.root.replace(' ', '%20')}/images')"
        assert stored in view.query
        session.execute(view.query.replace(stored, "stored.images").replace("images", "seen", 1))
        assert session.sql("SELECT drop_id FROM seen").fetchall() == [first]


def test_an_image_that_two_drops_brought_is_one_in_data_frames(command, lake):
    for drop in ("monday", "tuesday"):
        ingest(lake, drop, [image_row("a", drop_id=drop)])
    lake.append("images", [image_row("b")], "unfinished")
    answer = command("open", "--json").json()
    compile(answer["spark"], "spark", "exec")
    assert 'Window.partitionBy("dataset", "image_id")' in answer["spark"]
    pytest.importorskip("polars")
    assert run_python(answer["polars"], "images['drop_id'].to_list()") == "answer ['monday']"


def test_the_python_program_reads_a_bucket(command, bucket):
    fill(Lake.open(bucket))
    code = command("open", "--root", bucket, "--json").json()["python"]
    assert run_python(code, QUESTION) == "answer [(3,)]"


def test_a_bucket_is_told_to_every_program_without_its_secret(command, bucket):
    fill(Lake.open(bucket))
    out = command("open", "--root", bucket).out
    host = os.environ["SEGMILL_S3_ENDPOINT_URL"].removeprefix("http://")
    assert SECRET not in out
    for part in (
        f"ENDPOINT '{host}', URL_STYLE 'path', USE_SSL false",
        "delta_scan('s3://bucket/some/prefix/lake/segments')",
        "pl.read_delta('s3://bucket/some/prefix/lake/segments', storage_options={",
        ".load('s3a://bucket/some/prefix/lake/segments')",
        f"\"spark.hadoop.fs.s3a.endpoint\", 'http://{host}'",
    ):
        assert part in out


def test_the_live_files_are_those_that_duckdb_is_told(command, lake):
    fill(lake)
    answer = command("open", "--json").json()
    files = command("open", "--files", "segments").out.splitlines()
    assert files == lake.file_uris("segments")
    (plain,) = (
        sql for sql in duckdb.extract_statements(answer["duckdb"]) if "read_parquet" in sql.query
    )
    # Without Delta's list of units also the row of the unfinished one.
    assert duckdb.sql(plain.query).fetchall() == [(4,)]


def test_the_duckdb_statements_are_sql_with_the_real_paths(command, lake):
    fill(lake)
    sql = command("open", "--json").json()["duckdb"]
    statements = duckdb.extract_statements(sql)
    assert f"delta_scan('file://{lake.root.replace(' ', '%20')}/units')" in sql
    views = [s.query for s in statements if "CREATE VIEW" in s.query]
    assert len(views) == 3
    assert "VIEW units" in views[0] and "WHERE" not in views[0]


def test_the_other_programs_are_python(command, lake):
    fill(lake)
    answer = command("open", "--json").json()
    for name, path in itertools.product(("polars", "spark"), ("segments", "units")):
        compile(answer[name], name, "exec")
        assert f"/lake/{path}" in answer[name]
    assert answer["tables"]["segments"] == f"{lake.root}/segments"
    assert "count only when their unit_id is in units" in command("open").out.replace("\n", " ")
    assert json.dumps(answer)


def test_a_root_without_tables_is_told(command):
    answer = command("open")
    assert answer.code == 2
    assert "found none; segmill ingest makes them" in answer.err


def test_an_unknown_table_is_told(command, lake):
    fill(lake)
    answer = command("open", "--files", "pages")
    assert answer.code == 2
    assert "Unknown table 'pages'" in answer.err
