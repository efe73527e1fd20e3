"""Reading the lake as it was."""

import json
import shutil
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from deltalake import DeltaTable

from storage.errors import AsOfError, UnknownTableError, UnknownVersionError, VersionGoneError
from storage.lake import Lake
from storage.retraction import plan_retraction, retract
from storage.session import connect, read_only_query
from storage.versions import past_time, versions_as_of
from tests.lakes import cut, image_row, ingest, segment_row

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


def instant():
    """A time that no commit has, before and after which some may."""
    time.sleep(0.003)
    now = datetime.now(UTC)
    time.sleep(0.003)
    return now


def count(lake, table, *as_of):
    versions = versions_as_of(lake, as_of)
    found = read_only_query(lake, f"SELECT count(*) AS n FROM {table}", versions=versions)
    with connect(lake, versions) as session:
        assert session.sql(f"SELECT count(*) FROM {table}").fetchall() == [(found["n"][0].as_py(),)]
    return found["n"][0].as_py()


def log_of(lake, table):
    return sorted(Path(f"{lake.root}/{table}/_delta_log").glob("*.json"))


def set_clock(lake, table, version, moment):
    """Pretend that the writer of a version had this time."""
    file = log_of(lake, table)[version]
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    for line in lines:
        if "commitInfo" in line:
            line["commitInfo"]["timestamp"] = int(moment.timestamp() * 1000)
    file.write_text("\n".join(map(json.dumps, lines)))


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-11-01", datetime(2026, 11, 1, tzinfo=UTC)),
        ("2026-11-01T02:00", datetime(2026, 11, 1, 2, tzinfo=UTC)),
        ("2026-11-01 02:00:30.5", datetime(2026, 11, 1, 2, 0, 30, 500_000, tzinfo=UTC)),
        ("2026-11-01T02:00Z", datetime(2026, 11, 1, 2, tzinfo=UTC)),
        ("2026-11-01T02:00+02:00", datetime(2026, 11, 1, 0, tzinfo=UTC)),
        ("2026-11-22T13:00+02:00", datetime(2026, 11, 22, 11, tzinfo=UTC)),
    ],
)
def test_a_time_is_utc_unless_it_says_otherwise(text, moment):
    assert past_time(text, NOW) == moment


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("yesterday", "Expected a time such as 2026-11-01"),
        ("", "such as"),
        ("2026-02-30", "such as"),
        ("1", "such as"),
        ("x" * 9999, "such as"),
        ("2026-11-22T12:00:01", "is past, but got '2026-11-22T12:00:01'; it is 2026-11-22T12:00"),
        ("2026-11-22T12:00-02:00", "is past"),
        ("9999-12-31T23:59-14:00", "is past"),
    ],
)
def test_what_is_no_time_that_is_past_is_refused(text, told):
    with pytest.raises(AsOfError, match=told) as error:
        past_time(text, NOW)
    assert len(str(error.value)) < 400


def test_a_time_at_the_beginning_of_the_calendar_is_one_before_the_lake(lake):
    ingest(lake, "drop", [image_row("a")])
    assert count(lake, "images", "0001-01-01T00:00+14:00") == 0


@pytest.mark.parametrize(
    ("given", "error", "told"),
    [
        (["pages=1"], UnknownTableError, "'pages'"),
        (["images=x"], AsOfError, "TABLE=VERSION with a whole number, but got 'images=x'"),
        (["images="], AsOfError, "whole number"),
        (["images=-1"], AsOfError, "whole number"),
        (["images=" + "9" * 40], AsOfError, "whole number"),
        (["images=٣"], AsOfError, "whole number"),
        (["images=1", "images=2"], AsOfError, "one version of 'images'"),
        (["2026-11-01", "2026-11-02"], AsOfError, "one time, but got 2"),
    ],
)
def test_what_names_no_version_is_refused(local_lake, given, error, told):
    with pytest.raises(error, match=told):
        versions_as_of(local_lake, given, NOW)


def test_every_table_is_read_as_it_was(lake):
    before = instant()
    ingest(lake, "drop-1", [image_row("a")])
    between = instant()
    cut(lake, "batch", ["a"], [segment_row("a"), segment_row("a")])
    after = instant()
    ingest(lake, "drop-2", [image_row("b")])
    moments = (before, between, after)
    assert [count(lake, "images", str(moment)) for moment in moments] == [0, 1, 1]
    assert [count(lake, "segments", str(moment)) for moment in moments] == [0, 0, 2]
    assert [count(lake, "units", str(moment)) for moment in moments] == [0, 1, 2]
    assert count(lake, "images") == 2


def test_a_version_of_one_table_goes_before_the_time_of_all(local_lake):
    ingest(local_lake, "drop-1", [image_row("a")])
    moment = instant()
    ingest(local_lake, "drop-2", [image_row("b")])
    newest = local_lake.version("units")
    assert count(local_lake, "units", str(moment)) == 1
    assert count(local_lake, "units", str(moment), f"units={newest}") == 2


def test_at_the_instant_of_a_commit_it_is_there(local_lake):
    ingest(local_lake, "drop", [image_row("a")])
    commit = DeltaTable(f"{local_lake.root}/units").history()[0]
    at = datetime.fromtimestamp(commit["timestamp"] / 1000, UTC)
    assert count(local_lake, "images", at.isoformat()) == 1
    assert count(local_lake, "images", (at - timedelta(milliseconds=1)).isoformat()) == 0


def test_a_unit_is_whole_or_not_there_at_every_instant(local_lake):
    moments = []
    for number in range(4):
        images = [f"{number}-{name}" for name in "ab"]
        local_lake.append("segments", [segment_row(image) for image in images], f"batch-{number}")
        moments.append(instant())
        local_lake.commit_unit(
            stage="segment", unit_id=f"batch-{number}", subject="batch", inputs=2, outputs=2,
            image_ids=images, model_id="model", params_id="params", label_set_id="labels",
        )  # fmt: skip
        moments.append(instant())
    sql = (
        "SELECT (SELECT sum(outputs) FROM units) AS promised, (SELECT count(*) FROM segments) AS n"
    )
    for number, moment in enumerate(moments):
        versions = versions_as_of(local_lake, [str(moment)])
        (row,) = read_only_query(local_lake, sql, versions=versions).to_pylist()
        assert (row["promised"] or 0) == row["n"] == 2 * ((number + 1) // 2)


def test_a_writer_whose_clock_is_ahead_leaves_no_unit_without_its_rows(local_lake):
    noon = datetime(2026, 11, 1, 12, tzinfo=UTC)
    ahead = noon + timedelta(hours=1)
    local_lake.append("images", [image_row("a")], "ahead")
    local_lake.commit_unit(stage="ingest", unit_id="ahead", subject="d", inputs=1, outputs=1)
    ingest(local_lake, "drop", [], [])
    for table in ("images", "units"):
        set_clock(local_lake, table, 0, noon)
        set_clock(local_lake, table, 1, ahead)
        set_clock(local_lake, table, 2, noon)
    versions = versions_as_of(local_lake, [(noon + timedelta(minutes=1)).isoformat()])
    sql = "SELECT (SELECT count(*) FROM units) AS units, (SELECT count(*) FROM images) AS images"
    found = read_only_query(local_lake, sql, versions=versions).to_pylist()
    assert found == [{"units": 2, "images": 1}]


def test_a_copied_lake_remembers_its_times(local_lake, tmp_path):
    ingest(local_lake, "drop-1", [image_row("a")])
    moment = instant()
    ingest(local_lake, "drop-2", [image_row("b")])
    shutil.copytree(local_lake.root, tmp_path / "copy" / "lake", copy_function=shutil.copyfile)
    assert count(Lake.open(str(tmp_path / "copy")), "images", str(moment)) == 1


def test_a_version_that_is_not_there_yet_is_told_with_the_newest(local_lake):
    ingest(local_lake, "drop", [image_row("a")])
    with pytest.raises(UnknownVersionError, match="no version 9; its newest is 1"):
        count(local_lake, "images", "images=9")


def test_a_version_whose_files_are_gone_is_told_and_others_are_read(lake):
    ingest(lake, "drop-1", [image_row("a")])
    ingest(lake, "drop-2", [image_row("b")])
    moment = instant()
    stored = lake.table("images")
    stored.optimize.compact()
    assert count(lake, "images", "images=2") == 2
    stored.vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)
    with pytest.raises(VersionGoneError, match="at version 2: its files were cleaned up"):
        count(lake, "images", "images=2")
    with pytest.raises(VersionGoneError, match="ask for a later one"):
        count(lake, "images", str(moment))
    assert count(lake, "images", "images=3") == 2
    assert count(lake, "images") == 2


def test_a_version_whose_log_is_gone_is_told(local_lake):
    start = instant()
    ingest(local_lake, "drop-1", [image_row("a")])
    ingest(local_lake, "drop-2", [image_row("b")])
    stored = local_lake.table("images")
    stored.create_checkpoint()
    for file in log_of(local_lake, "images")[:-1]:
        file.unlink()
    with pytest.raises(VersionGoneError, match="at version 1: its log was cleaned up"):
        count(local_lake, "images", "images=1")
    with pytest.raises(VersionGoneError, match="its log begins at 20"):
        count(local_lake, "images", str(start))
    assert count(local_lake, "images") == 2


def test_a_unit_has_its_rows_before_a_retraction_whatever_the_clocks(local_lake):
    """The retraction is later than the time that is asked for, but not than a clock ahead."""
    asked = datetime.now(UTC) - timedelta(hours=5)
    cut(local_lake, "ahead", ["a"], [segment_row("a")])
    cut(local_lake, "right", ["b"], [segment_row("b")], model_id="bad")
    for table in ("segments", "units"):
        for version, minutes in enumerate((-3, 60, -1)):
            set_clock(local_lake, table, version, asked + timedelta(minutes=minutes))
    retract(local_lake, plan_retraction(local_lake, "model", "bad"))
    cut(local_lake, "later", ["c"], [segment_row("c")])
    for table in ("segments", "units"):
        set_clock(local_lake, table, 3, asked + timedelta(minutes=30))
        set_clock(local_lake, table, 4, asked + timedelta(minutes=40))
    ids = "list(DISTINCT unit_id ORDER BY unit_id)"
    sql = f"SELECT (SELECT {ids} FROM units) AS named, (SELECT {ids} FROM segments) AS stored"
    for minutes, units in ((0, ["ahead", "right"]), (35, ["ahead"]), (45, ["ahead", "later"])):
        versions = versions_as_of(local_lake, [str(asked + timedelta(minutes=minutes))])
        (found,) = read_only_query(local_lake, sql, versions=versions).to_pylist()
        assert found == {"named": units, "stored": units}
