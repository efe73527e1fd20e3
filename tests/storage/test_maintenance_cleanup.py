"""Maintenance deletes what no version needs any more, and nothing else."""

import os
import re
import shutil
import time
from pathlib import Path

import pytest
from deltalake import DeltaTable, write_deltalake

from storage import rewriting
from storage.errors import DamagedFileError
from storage.lake import Lake
from storage.log_retention import keep_removed_files
from storage.maintenance import maintain_table
from storage.objects.keys import TEMPORARY_PREFIX
from storage.session import connect, read_only_query
from tests.maintained import Row, file_times, fill_segments


def test_a_reader_from_before_reads_on(local_lake: Lake, segment: Row):
    fill_segments(local_lake, segment)
    with connect(local_lake) as session:
        maintain_table(local_lake, "segments")
        assert session.execute("SELECT count(*) FROM stored.segments").fetchone() == (240,)


def test_old_files_go_after_the_retention_and_not_before(local_lake: Lake, segment: Row):
    fill_segments(local_lake, segment)
    old = [Path(path) for path in local_lake.file_uris("segments")]
    maintain_table(local_lake, "segments", retention_hours=1)
    assert all(path.exists() for path in old)
    assert maintain_table(local_lake, "segments", retention_hours=0).vacuumed == 8
    assert not any(path.exists() for path in old)
    assert local_lake.read("segments", committed_only=False).num_rows == 240


def _as_if_made_before(table: Path) -> None:
    """Let a table say that it was made a day ago."""
    first = table / "_delta_log" / f"{0:020}.json"
    a_day_ago = str(int(1000 * (time.time() - 86400)))
    first.write_text(re.sub(r'(?<="createdTime":)[0-9]+', a_day_ago, first.read_text()))


def test_a_file_of_a_writer_that_died_goes_and_one_of_a_slow_writer_stays(
    local_lake: Lake, segment: Row
):
    fill_segments(local_lake, segment)
    folder = Path(local_lake.root) / "segments"
    _as_if_made_before(folder)
    died, slow = folder / "part-died.parquet", folder / "part-slow.parquet"
    for stray in (died, slow):
        stray.write_bytes(b"not committed")
    two_hours_ago = time.time() - 7200
    os.utime(died, (two_hours_ago, two_hours_ago))
    assert maintain_table(local_lake, "segments", retention_hours=1).vacuumed == 1
    assert not died.exists()
    assert slow.exists()


def test_what_a_writer_that_died_left_unfinished_goes(local_lake: Lake, segment: Row):
    fill_segments(local_lake, segment)
    folder = Path(local_lake.root) / "segments"
    died, slow = (folder / f"{TEMPORARY_PREFIX}{name}" for name in ("died", "slow"))
    for stray in (died, slow):
        stray.write_bytes(b"half")
    two_hours_ago = time.time() - 7200
    os.utime(died, (two_hours_ago, two_hours_ago))
    assert maintain_table(local_lake, "segments", retention_hours=1, dry_run=True).vacuumed == 1
    assert maintain_table(local_lake, "segments", retention_hours=1).vacuumed == 1
    assert not died.exists()
    assert slow.exists()


def _as_written_before(lake: Lake, days: float) -> None:
    """Make the files of a table as old as if they had been written then."""
    then = time.time() - days * 86400
    for path in Path(lake.root, "segments").glob("*.parquet"):
        os.utime(path, (then, then))


def test_a_retention_of_months_is_kept_beyond_checkpoints(
    local_lake: Lake, segment: Row, monkeypatch: pytest.MonkeyPatch
):
    """By default Delta's checkpoints forget what was removed more than a week ago."""
    two_months = 24 * 60
    fill_segments(local_lake, segment)
    _as_written_before(local_lake, days=70)
    version = local_lake.version("segments")
    assert version is not None
    now = time.time_ns
    with monkeypatch.context() as ten_days_ago:
        ten_days_ago.setattr(rewriting.time, "time_ns", lambda: now() - 10 * 86400 * 10**9)
        maintain_table(local_lake, "segments", retention_hours=two_months)
    for unit in range(2):
        local_lake.append("segments", [segment()], f"later-{unit}")
        done = maintain_table(local_lake, "segments", retention_hours=two_months)
        assert (done.vacuumed, done.checkpointed) == (0, True)
    sql = "SELECT count(*) AS n FROM stored.segments"
    found = read_only_query(local_lake, sql, versions={"segments": version})
    assert found["n"].to_pylist() == [240]
    before = file_times(local_lake.root)
    maintain_table(local_lake, "segments", retention_hours=two_months)
    assert file_times(local_lake.root) == before, "properties are set once"


@pytest.mark.parametrize(
    ("hours", "given", "expected"),
    [
        (168, {}, {}),
        (169, {}, {"deletedFile": "interval 169 hours"}),
        (721, {}, {"deletedFile": "interval 721 hours", "log": "interval 721 hours"}),
        (200, {"deletedFile": "interval 2 weeks"}, {"deletedFile": "interval 2 weeks"}),
        (337, {"deletedFile": "interval 2 weeks"}, {"deletedFile": "interval 337 hours"}),
        (24, {"log": "interval 1 day"}, {"log": "interval 1 day"}),
    ],
)
def test_properties_of_a_table_change_only_where_they_are_too_short(
    local_lake: Lake, segment: Row, hours: int, given: dict[str, str], expected: dict[str, str]
):
    fill_segments(local_lake, segment, units=1)

    def stored() -> DeltaTable:
        return DeltaTable(f"{local_lake.root}/segments")

    if given:
        named = {f"delta.{name}RetentionDuration": value for name, value in given.items()}
        stored().alter.set_table_properties(named)
    before = stored().version()
    assert keep_removed_files(local_lake, "segments", hours)
    named = {f"delta.{name}RetentionDuration": value for name, value in expected.items()}
    assert stored().metadata().configuration == named
    assert stored().version() == before + (expected != given)


def test_a_table_whose_log_is_lost_is_told_and_left_alone(local_lake: Lake, segment: Row):
    fill_segments(local_lake, segment)
    shutil.rmtree(Path(local_lake.root) / "segments" / "_delta_log")
    before = file_times(local_lake.root)
    with pytest.raises(DamagedFileError, match="log is missing, but 8 Parquet files are there"):
        maintain_table(local_lake, "segments")
    assert file_times(local_lake.root) == before


@pytest.mark.parametrize("dry_run", [True, False])
def test_nothing_is_deleted_from_a_table_whose_log_began_again(
    local_lake: Lake, segment: Row, dry_run: bool
):
    fill_segments(local_lake, segment)
    rows = local_lake.read("segments", committed_only=False)
    _as_written_before(local_lake, days=9)
    shutil.rmtree(Path(local_lake.root) / "segments" / "_delta_log")
    write_deltalake(f"{local_lake.root}/segments", rows.slice(0, 1))
    before = file_times(local_lake.root)
    with pytest.raises(
        DamagedFileError, match=r"began again at .*: 8 older files are in no version"
    ):
        maintain_table(local_lake, "segments", dry_run=dry_run)
    assert file_times(local_lake.root) == before
