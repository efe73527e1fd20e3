"""Maintenance merges, removes and checkpoints, and nobody's rows are lost, doubled or changed."""

import itertools
import os
import random
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import write_deltalake

from storage.data_files import recorded_sha256
from storage.errors import DamagedFileError
from storage.lake import Lake
from storage.maintenance import maintain_table
from storage.schemas import TABLES
from tests.maintained import LABELS, Row, file_times, fill_segments, stored_rows


def test_small_files_become_one_with_the_same_rows(lake: Lake, segment: Row):
    fill_segments(lake, segment)
    before = stored_rows(lake)
    done = maintain_table(lake, "segments")
    assert (done.files_before, done.files_after, done.merged) == (8, 1, 8)
    assert done.bytes_after < done.bytes_before
    assert done.checkpointed
    assert not done.postponed
    assert done.vacuumed == 0, "the old files are younger than the retention"
    assert stored_rows(lake) == before
    assert len(lake.file_uris("segments")) == 1


def test_merged_rows_are_sorted_and_laid_out_as_appended_ones(local_lake: Lake, segment: Row):
    fill_segments(local_lake, segment, units=1)
    (fresh,) = local_lake.file_uris("segments")
    laid_out = _layout(fresh)
    fill_segments(local_lake, segment, units=3)
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
    fill_segments(local_lake, segment)
    maintain_table(local_lake, "segments")
    before = file_times(local_lake.root)
    done = maintain_table(local_lake, "segments")
    assert file_times(local_lake.root) == before
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
    before = stored_rows(local_lake)
    target = 150_000
    done = maintain_table(local_lake, "segments", target_bytes=target)
    files = local_lake.file_uris("segments")
    assert len(files) > 1
    assert all(target / 2 <= Path(path).stat().st_size <= 2 * target for path in files)
    assert done.files_after == len(files)
    assert stored_rows(local_lake) == before
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
    before = stored_rows(local_lake)
    maintain_table(local_lake, "segments", target_bytes=60_000)
    assert stored_rows(local_lake) == before
    assert maintain_table(local_lake, "segments", target_bytes=60_000).merged == 0


@pytest.mark.parametrize("table", sorted(TABLES))
def test_a_table_that_was_never_written_is_left_alone(local_lake: Lake, table: str):
    assert maintain_table(local_lake, table).files_before == 0
    assert not Path(local_lake.root).exists()


def test_tables_without_labels_are_merged_too(lake: Lake):
    for unit in range(4):
        lake.commit_unit(stage="stats", unit_id=f"u{unit}", subject="s", inputs=1, outputs=0)
    before = stored_rows(lake, "units")
    assert maintain_table(lake, "units").files_after == 1
    assert stored_rows(lake, "units") == before


def test_a_dry_run_says_it_and_changes_nothing(local_lake: Lake, segment: Row):
    fill_segments(local_lake, segment)
    before = file_times(local_lake.root)
    planned = maintain_table(local_lake, "segments", dry_run=True)
    assert file_times(local_lake.root) == before
    assert (planned.files_before, planned.files_after, planned.merged) == (8, 1, 8)


def test_units_are_known_after_merging_a_checkpoint_and_the_end_of_the_old_log(
    local_lake: Lake, segment: Row
):
    fill_segments(local_lake, segment)
    log = Path(local_lake.root) / "segments" / "_delta_log"
    a_year_ago = time.time() - 365 * 86400
    for entry in log.glob("*.json"):
        os.utime(entry, (a_year_ago, a_year_ago))
    before = stored_rows(local_lake)
    maintain_table(local_lake, "segments")
    assert not (log / f"{0:020}.json").exists(), "the old log must be gone for this to say much"
    for unit in range(8):
        assert local_lake.has_unit("segments", f"unit-{unit}")
        assert not local_lake.append("segments", [segment()], f"unit-{unit}")
    assert stored_rows(local_lake) == before
    assert local_lake.append("segments", [segment()], "unit-new")


def test_units_are_known_after_the_retention_of_everything_else(local_lake: Lake, segment: Row):
    fill_segments(local_lake, segment, units=3)
    stored = local_lake.table("segments")
    assert stored is not None
    stored.alter.set_table_properties({"delta.logRetentionDuration": "interval 0 seconds"})
    time.sleep(1.1)
    maintain_table(local_lake, "segments", retention_hours=0)
    for unit in range(3):
        assert not local_lake.append("segments", [segment()], f"unit-{unit}")
    assert local_lake.read("segments", committed_only=False).num_rows == 90


def test_a_damaged_file_is_named_and_not_merged_into_a_good_one(local_lake: Lake, segment: Row):
    fill_segments(local_lake, segment)
    damaged = Path(local_lake.file_uris("segments")[3])
    content = bytearray(damaged.read_bytes())
    content[len(content) // 2] ^= 1
    damaged.write_bytes(content)
    before = file_times(local_lake.root)
    with pytest.raises(DamagedFileError, match=damaged.name):
        maintain_table(local_lake, "segments")
    assert file_times(local_lake.root) == before


def test_files_of_other_writers_get_a_checksum(local_lake: Lake, segment: Row):
    fill_segments(local_lake, segment, units=1)
    nulls = dict.fromkeys(TABLES["segments"].names)
    rows = [nulls | segment() | {"unit_id": "foreign"}]
    write_deltalake(
        f"{local_lake.root}/segments", pa.Table.from_pylist(rows, TABLES["segments"]), mode="append"
    )
    before = stored_rows(local_lake)
    maintain_table(local_lake, "segments")
    assert all(recorded_sha256(Path(uri).name) for uri in local_lake.file_uris("segments"))
    assert stored_rows(local_lake) == before


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
