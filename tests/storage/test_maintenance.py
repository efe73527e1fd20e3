"""Maintenance merges, removes and checkpoints, and nobody's rows are lost, doubled or changed."""

import itertools
import multiprocessing
import os
import random
import re
import shutil
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, write_deltalake

from storage import rewriting
from storage.data_files import recorded_sha256
from storage.errors import DamagedFileError
from storage.lake import Lake
from storage.log_retention import keep_removed_files
from storage.maintenance import maintain_table
from storage.objects.keys import TEMPORARY_PREFIX
from storage.schemas import TABLES
from storage.session import connect, read_only_query
from tests.lakes import NIGHT

Row = Callable[..., dict[str, Any]]
LABELS = ["text", "bubble", "panel", "unknown", "character's"]
WRITTEN = 12


def _fill(lake: Lake, segment: Row, units: int = 8, rows: int = 30) -> None:
    chosen = random.Random(5)
    for unit in range(units):
        lake.append(
            "segments",
            [
                segment(label=chosen.choice(LABELS), image_id=f"image-{chosen.randrange(40):02}")
                for _ in range(rows)
            ],
            f"unit-{unit}",
        )


def _rows(lake: Lake, table: str = "segments") -> Counter[str]:
    found = lake.read(table, committed_only=False).to_pylist()
    return Counter(str(sorted(row.items(), key=lambda item: item[0])) for row in found)


def _snapshot(root: str) -> dict[str, tuple[int, int]]:
    return {
        str(path): (path.stat().st_mtime_ns, path.stat().st_size)
        for path in Path(root).rglob("*")
        if path.is_file()
    }


def test_small_files_become_one_with_the_same_rows(lake: Lake, segment: Row):
    _fill(lake, segment)
    before = _rows(lake)
    done = maintain_table(lake, "segments")
    assert (done.files_before, done.files_after, done.merged) == (8, 1, 8)
    assert done.bytes_after < done.bytes_before
    assert done.checkpointed
    assert not done.postponed
    assert done.vacuumed == 0, "the old files are younger than the retention"
    assert _rows(lake) == before
    assert len(lake.file_uris("segments")) == 1


def test_merged_rows_are_sorted_and_laid_out_as_appended_ones(local_lake: Lake, segment: Row):
    _fill(local_lake, segment, units=1)
    (fresh,) = local_lake.file_uris("segments")
    laid_out = _layout(fresh)
    _fill(local_lake, segment, units=3)
    maintain_table(local_lake, "segments")
    (path,) = local_lake.file_uris("segments")
    keys = list(zip(*(pq.read_table(path)[name].to_pylist() for name in ("label", "image_id")),
                    strict=True))  # fmt: skip
    assert keys == sorted(keys)
    assert len(set(keys)) > 1
    assert _layout(path) == laid_out
    assert recorded_sha256(Path(path).name)


def _layout(path: str) -> list[tuple[str, str, bool]]:
    group = pq.read_metadata(path).row_group(0)
    columns = [group.column(number) for number in range(group.num_columns)]
    return [(c.path_in_schema.split(".")[0], c.compression, c.has_dictionary_page) for c in columns]


def test_row_groups_of_a_large_file_have_labels_of_their_own(local_lake: Lake, segment: Row):
    rows = [segment(label=LABELS[number % 5], rle="", top=[]) for number in range(90_000)]
    for unit in range(2):
        local_lake.append("segments", rows, f"unit-{unit}")
    maintain_table(local_lake, "segments")
    (path,) = local_lake.file_uris("segments")
    found = pq.read_metadata(path)
    place = TABLES["segments"].get_field_index("label")
    spans = []
    for number in range(found.num_row_groups):
        assert found.row_group(number).num_rows <= 65_536
        statistics = found.row_group(number).column(place).statistics
        spans.append((statistics.min, statistics.max))
    assert found.num_row_groups == 3
    assert all(before[1] <= after[0] for before, after in itertools.pairwise(spans))


def test_a_second_run_changes_nothing(local_lake: Lake, segment: Row):
    _fill(local_lake, segment)
    maintain_table(local_lake, "segments")
    before = _snapshot(local_lake.root)
    done = maintain_table(local_lake, "segments")
    assert _snapshot(local_lake.root) == before
    assert (done.merged, done.vacuumed, done.checkpointed) == (0, 0, False)


def test_large_files_are_left_alone_and_merged_ones_have_images_of_their_own(
    local_lake: Lake, segment: Row
):
    rng = random.Random(1)
    for unit in range(9):
        rows = [
            segment(rle=rng.randbytes(400).hex(), label=LABELS[n % 5], image_id=f"{n // 5:02d}")
            for n in range(100)
        ]
        local_lake.append("segments", rows, f"unit-{unit}")
    before = _rows(local_lake)
    target = 150_000
    done = maintain_table(local_lake, "segments", target_bytes=target)
    files = local_lake.file_uris("segments")
    assert len(files) > 1
    assert all(target / 2 <= Path(path).stat().st_size <= 2 * target for path in files)
    assert done.files_after == len(files)
    assert _rows(local_lake) == before
    spans = []
    for path in files:
        found = pq.read_table(path)
        keys = list(zip(found["label"].to_pylist(), found["image_id"].to_pylist(), strict=True))
        assert keys == sorted(keys)
        spans.append((min(key[1] for key in keys), max(key[1] for key in keys)))
    assert all(before[1] < after[0] for before, after in itertools.pairwise(sorted(spans)))
    assert maintain_table(local_lake, "segments", target_bytes=target).merged == 0
    assert set(local_lake.file_uris("segments")) == set(files)


def test_many_rows_of_one_image_are_merged_once(local_lake: Lake, segment: Row):
    rng = random.Random(1)
    for unit in range(9):
        rows = [segment(rle=rng.randbytes(400).hex()) for _ in range(100)]
        local_lake.append("segments", rows, f"unit-{unit}")
    before = _rows(local_lake)
    maintain_table(local_lake, "segments", target_bytes=60_000)
    assert _rows(local_lake) == before
    assert maintain_table(local_lake, "segments", target_bytes=60_000).merged == 0


@pytest.mark.parametrize("table", sorted(TABLES))
def test_a_table_that_was_never_written_is_left_alone(local_lake: Lake, table: str):
    assert maintain_table(local_lake, table).files_before == 0
    assert not Path(local_lake.root).exists()


def test_tables_without_labels_are_merged_too(lake: Lake):
    for unit in range(4):
        lake.commit_unit(stage="stats", unit_id=f"u{unit}", subject="s", inputs=1, outputs=0)
    before = _rows(lake, "units")
    assert maintain_table(lake, "units").files_after == 1
    assert _rows(lake, "units") == before


def test_a_dry_run_says_it_and_changes_nothing(local_lake: Lake, segment: Row):
    _fill(local_lake, segment)
    before = _snapshot(local_lake.root)
    planned = maintain_table(local_lake, "segments", dry_run=True)
    assert _snapshot(local_lake.root) == before
    assert (planned.files_before, planned.files_after, planned.merged) == (8, 1, 8)


def test_units_are_known_after_merging_a_checkpoint_and_the_end_of_the_old_log(
    local_lake: Lake, segment: Row
):
    _fill(local_lake, segment)
    log = Path(local_lake.root) / "segments" / "_delta_log"
    a_year_ago = time.time() - 365 * 86400
    for entry in log.glob("*.json"):
        os.utime(entry, (a_year_ago, a_year_ago))
    before = _rows(local_lake)
    maintain_table(local_lake, "segments")
    assert not (log / f"{0:020}.json").exists(), "the old log must be gone for this to say much"
    for unit in range(8):
        assert local_lake.has_unit("segments", f"unit-{unit}")
        assert not local_lake.append("segments", [segment()], f"unit-{unit}")
    assert _rows(local_lake) == before
    assert local_lake.append("segments", [segment()], "unit-new")


def test_units_are_known_after_the_retention_of_everything_else(local_lake: Lake, segment: Row):
    _fill(local_lake, segment, units=3)
    stored = local_lake.table("segments")
    assert stored is not None
    stored.alter.set_table_properties({"delta.logRetentionDuration": "interval 0 seconds"})
    time.sleep(1.1)
    maintain_table(local_lake, "segments", retention_hours=0)
    for unit in range(3):
        assert not local_lake.append("segments", [segment()], f"unit-{unit}")
    assert local_lake.read("segments", committed_only=False).num_rows == 90


def test_a_reader_from_before_reads_on(local_lake: Lake, segment: Row):
    _fill(local_lake, segment)
    with connect(local_lake) as session:
        maintain_table(local_lake, "segments")
        assert session.execute("SELECT count(*) FROM stored.segments").fetchone() == (240,)


def test_old_files_go_after_the_retention_and_not_before(local_lake: Lake, segment: Row):
    _fill(local_lake, segment)
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
    _fill(local_lake, segment)
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
    _fill(local_lake, segment)
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
    _fill(local_lake, segment)
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
    before = _snapshot(local_lake.root)
    maintain_table(local_lake, "segments", retention_hours=two_months)
    assert _snapshot(local_lake.root) == before, "properties are set once"


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
    _fill(local_lake, segment, units=1)

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
    _fill(local_lake, segment)
    shutil.rmtree(Path(local_lake.root) / "segments" / "_delta_log")
    before = _snapshot(local_lake.root)
    with pytest.raises(DamagedFileError, match="log is missing, but 8 Parquet files are there"):
        maintain_table(local_lake, "segments")
    assert _snapshot(local_lake.root) == before


@pytest.mark.parametrize("dry_run", [True, False])
def test_nothing_is_deleted_from_a_table_whose_log_began_again(
    local_lake: Lake, segment: Row, dry_run: bool
):
    _fill(local_lake, segment)
    rows = local_lake.read("segments", committed_only=False)
    _as_written_before(local_lake, days=9)
    shutil.rmtree(Path(local_lake.root) / "segments" / "_delta_log")
    write_deltalake(f"{local_lake.root}/segments", rows.slice(0, 1))
    before = _snapshot(local_lake.root)
    with pytest.raises(
        DamagedFileError, match=r"began again at .*: 8 older files are in no version"
    ):
        maintain_table(local_lake, "segments", dry_run=dry_run)
    assert _snapshot(local_lake.root) == before


def test_a_damaged_file_is_named_and_not_merged_into_a_good_one(local_lake: Lake, segment: Row):
    _fill(local_lake, segment)
    damaged = Path(local_lake.file_uris("segments")[3])
    content = bytearray(damaged.read_bytes())
    content[len(content) // 2] ^= 1
    damaged.write_bytes(content)
    before = _snapshot(local_lake.root)
    with pytest.raises(DamagedFileError, match=damaged.name):
        maintain_table(local_lake, "segments")
    assert _snapshot(local_lake.root) == before


def test_files_of_other_writers_get_a_checksum(local_lake: Lake, segment: Row):
    _fill(local_lake, segment, units=1)
    nulls = dict.fromkeys(TABLES["segments"].names)
    rows = [nulls | segment() | {"unit_id": "foreign"}]
    write_deltalake(
        f"{local_lake.root}/segments", pa.Table.from_pylist(rows, TABLES["segments"]), mode="append"
    )
    before = _rows(local_lake)
    maintain_table(local_lake, "segments")
    assert all(recorded_sha256(Path(uri).name) for uri in local_lake.file_uris("segments"))
    assert _rows(local_lake) == before


def test_rows_with_columns_of_an_older_and_of_a_newer_version_are_merged(
    local_lake: Lake, segment: Row, monkeypatch: pytest.MonkeyPatch
):
    schema = TABLES["segments"]
    with monkeypatch.context() as older:
        older.setitem(TABLES, "segments", schema.remove(schema.get_field_index("code_version")))
        local_lake.append("segments", [segment()], "old")
    with monkeypatch.context() as newer:
        newer.setitem(TABLES, "segments", schema.append(schema.field("run_id").with_name("later")))
        local_lake.append("segments", [segment(later="kept")], "new")
    maintain_table(local_lake, "segments")
    (path,) = local_lake.file_uris("segments")
    found = {row["unit_id"]: row for row in pq.read_table(path).to_pylist()}
    assert found["new"]["later"] == "kept"
    assert found["old"]["later"] is None
    assert found["old"]["code_version"] is None


def test_of_two_compactions_at_once_one_is_refused(
    lake: Lake, segment: Row, monkeypatch: pytest.MonkeyPatch
):
    """Delta's own compactions both succeed, and each row is there twice."""
    _fill(lake, segment)
    before = _rows(lake)
    other, original, done = Lake(lake.root), rewriting.replace_files, []

    def other_first(*arguments: Any, **options: Any) -> bool:
        if not done:
            done.append(True)
            assert maintain_table(other, "segments").files_after == 1
        return original(*arguments, **options)

    monkeypatch.setattr("storage.maintenance.replace_files", other_first)
    assert maintain_table(lake, "segments").postponed
    assert done
    assert _rows(lake) == before


def test_appends_between_reading_and_committing_are_kept(
    lake: Lake, segment: Row, monkeypatch: pytest.MonkeyPatch
):
    _fill(lake, segment)
    other, original = Lake(lake.root), DeltaTable.create_write_transaction
    left = [f"between-{number}" for number in range(3)]

    def append_first(self: DeltaTable, *arguments: Any, **options: Any) -> None:
        if left:
            unit = left.pop()
            with monkeypatch.context() as plain:
                plain.setattr(DeltaTable, "create_write_transaction", original)
                assert other.append("segments", [segment()], unit)
        original(self, *arguments, **options)

    with monkeypatch.context() as between:
        between.setattr(DeltaTable, "create_write_transaction", append_first)
        done = maintain_table(lake, "segments")
    assert not left
    assert not done.postponed
    rows = lake.read("segments", committed_only=False)
    assert rows.num_rows == 243
    assert len(set(rows["segment_id"].to_pylist())) == 243


def _append_many(root: str, started: Any) -> None:
    lake = Lake.open(root)
    for unit in range(WRITTEN):
        rows = [
            {
                "dataset": "comics", "drop_id": f"writer-{unit}", "file": f"{number}.png",
                "pointer": "", "rule": "image.empty", "value": "0", "stage": "ingest", "at": NIGHT,
            }
            for number in range(3)
        ]  # fmt: skip
        assert lake.append("quarantine", rows, f"writer-{unit}")
        started.set()


def _maintain_many(root: str, started: Any) -> None:
    assert started.wait(60)
    for _ in range(6):
        maintain_table(Lake.open(root), "quarantine")


def test_processes_that_append_and_that_merge_at_once_lose_and_double_nothing(tmp_path: Path):
    processes = multiprocessing.get_context("spawn")
    root, started = str(tmp_path), processes.Event()
    running = [
        processes.Process(target=target, args=(root, started))
        for target in (_append_many, _maintain_many, _maintain_many)
    ]
    for process in running:
        process.start()
    for process in running:
        process.join(120)
        assert process.exitcode == 0
    lake = Lake.open(root)
    maintain_table(lake, "quarantine")
    rows = lake.read("quarantine", committed_only=False).to_pylist()
    expected = {(f"writer-{unit}", f"{n}.png"): 1 for unit in range(WRITTEN) for n in range(3)}
    assert Counter((row["unit_id"], row["file"]) for row in rows) == expected
    assert len(lake.file_uris("quarantine")) == 1


def _merge_for_ever(root: str, started: Any) -> None:
    lake = Lake.open(root)
    started.set()
    for _ in range(200):
        maintain_table(lake, "segments", target_bytes=2_000)
        maintain_table(lake, "segments")


def test_killing_a_compaction_at_any_time_changes_no_row(local_lake: Lake, segment: Row):
    _fill(local_lake, segment)
    before = _rows(local_lake)
    processes = multiprocessing.get_context("spawn")
    killed = 0
    for seconds in (0.0, 0.01, 0.03, 0.06, 0.1):
        started = processes.Event()
        process = processes.Process(
            target=_merge_for_ever, args=(str(Path(local_lake.root).parent), started)
        )
        process.start()
        assert started.wait(60)
        time.sleep(seconds)
        process.kill()
        process.join(60)
        killed += process.exitcode == -9
        assert _rows(local_lake) == before
    assert killed
    maintain_table(local_lake, "segments")
    assert _rows(local_lake) == before
