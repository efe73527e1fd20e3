"""Compaction beside others who write, merge or die."""

import multiprocessing
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable

from storage import rewriting
from storage.lake import Lake
from storage.maintenance import maintain_table
from tests.lakes import NIGHT
from tests.maintained import Row, fill_segments, stored_rows

WRITTEN = 12


def test_of_two_compactions_at_once_one_is_refused(
    lake: Lake, segment: Row, monkeypatch: pytest.MonkeyPatch
):
    """Delta's own compactions both succeed, and each row is there twice."""
    fill_segments(lake, segment)
    before = stored_rows(lake)
    other, original, done = Lake(lake.root), rewriting.replace_files, []

    def other_first(*arguments: Any, **options: Any) -> bool:
        if not done:
            done.append(True)
            assert maintain_table(other, "segments").files_after == 1
        return original(*arguments, **options)

    monkeypatch.setattr("storage.maintenance.replace_files", other_first)
    assert maintain_table(lake, "segments").postponed
    assert done
    assert stored_rows(lake) == before


def test_appends_between_reading_and_committing_are_kept(
    lake: Lake, segment: Row, monkeypatch: pytest.MonkeyPatch
):
    fill_segments(lake, segment)
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
    fill_segments(local_lake, segment)
    before = stored_rows(local_lake)
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
        assert stored_rows(local_lake) == before
    assert killed
    maintain_table(local_lake, "segments")
    assert stored_rows(local_lake) == before
