import os
import random
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from deltalake import write_deltalake

from storage.errors import UnknownTableError
from storage.lake import Lake
from storage.maintenance import maintain_table
from storage.objects.keys import TEMPORARY_PREFIX
from storage.retraction import plan_retraction, retract
from storage.schemas import TABLES
from storage.table_logs import lost_units
from storage.verification import verify_table
from tests.lakes import cut

Row = Callable[..., dict[str, Any]]
FLIPS = 400


def _fill(lake: Lake, segment: Row, units: range = range(4)) -> None:
    for unit in units:
        lake.append("segments", [segment(rle="61X" * unit) for _ in range(20)], f"unit-{unit}")


def test_a_lake_as_it_was_written_has_no_findings(lake: Lake, segment: Row):
    _fill(lake, segment)
    seen: list[str] = []
    found = verify_table(lake, "segments", seen.append)
    assert found.files == len(seen) == 4
    assert found.size_bytes > 0
    assert (found.damaged, found.without_checksum, found.strays) == ({}, (), ())


@pytest.mark.parametrize("table", sorted(TABLES))
def test_a_table_that_was_never_written_has_none_either(local_lake: Lake, table: str):
    assert verify_table(local_lake, table).files == 0


def test_an_unknown_table_is_refused(local_lake: Lake):
    with pytest.raises(UnknownTableError):
        verify_table(local_lake, "segmints")


def test_each_flipped_bit_is_found_in_its_file(local_lake: Lake, segment: Row):
    """In merged and in appended files, in pages, headers and footers."""
    _fill(local_lake, segment)
    maintain_table(local_lake, "segments")
    _fill(local_lake, segment, range(4, 7))
    local_lake.commit_unit(stage="stats", unit_id="u", subject="s", inputs=0, outputs=0)
    paths = [
        (table, Path(uri)) for table in ("segments", "units") for uri in local_lake.file_uris(table)
    ]
    chosen, detected = random.Random(7), 0
    for number in range(FLIPS):
        table, path = paths[number % len(paths)]
        content = path.read_bytes()
        place = chosen.randrange(8 * len(content))
        flipped = bytearray(content)
        flipped[place // 8] ^= 1 << place % 8
        path.write_bytes(flipped)
        found = verify_table(local_lake, table)
        assert list(found.damaged) == [str(path)]
        detected += 1
        path.write_bytes(content)
    assert detected == FLIPS
    assert not verify_table(local_lake, "segments").damaged


def test_a_flipped_bit_in_a_bucket_is_found(lake: Lake, segment: Row):
    _fill(lake, segment)
    uri = lake.file_uris("segments")[0]
    key = uri.removeprefix(lake.root + "/")
    content = bytearray(lake.objects.read(key))
    content[len(content) // 3] ^= 16
    lake.objects.write(key, bytes(content))
    assert list(verify_table(lake, "segments").damaged) == [uri]


@pytest.mark.parametrize("change", ["missing", "empty", "truncated", "longer", "swapped"])
def test_files_that_are_lost_cut_or_swapped_are_found(local_lake: Lake, segment: Row, change: str):
    _fill(local_lake, segment)
    path, other = (Path(uri) for uri in local_lake.file_uris("segments")[:2])
    content = path.read_bytes()
    if change == "missing":
        path.unlink()
    else:
        path.write_bytes(
            {
                "empty": b"",
                "truncated": content[:-1],
                "longer": content + b"\0",
                "swapped": other.read_bytes(),
            }[change]
        )
    found = verify_table(local_lake, "segments")
    assert list(found.damaged) == [str(path)]
    assert ("missing" in found.damaged[str(path)]) == (change == "missing")


def test_strays_are_told_apart_from_files_of_older_versions(local_lake: Lake, segment: Row):
    _fill(local_lake, segment)
    maintain_table(local_lake, "segments")
    stray = Path(local_lake.root) / "segments" / "part-of-a-writer-that-died.parquet"
    stray.write_bytes(b"half")
    unfinished = stray.with_name(f"{TEMPORARY_PREFIX}died")
    unfinished.write_bytes(b"half")
    found = verify_table(local_lake, "segments")
    assert found.strays == (str(stray), str(unfinished))
    assert found.damaged == {}


def test_files_of_other_programs_are_told_until_they_are_maintained(local_lake: Lake, segment: Row):
    _fill(local_lake, segment)
    rows = local_lake.read("segments", committed_only=False).slice(0, 1)
    write_deltalake(f"{local_lake.root}/segments", rows, mode="append")
    assert len(verify_table(local_lake, "segments").without_checksum) == 1
    maintain_table(local_lake, "segments")
    assert verify_table(local_lake, "segments").without_checksum == ()


def test_a_log_that_cannot_be_read_is_a_finding(local_lake: Lake, segment: Row):
    _fill(local_lake, segment)
    log = Path(local_lake.root) / "segments" / "_delta_log"
    (log / f"{2:020}.json").write_bytes(b"\xff{")
    ((place, reason),) = verify_table(local_lake, "segments").damaged.items()
    assert place == str(log)
    assert "Json error" in reason
    assert "\n" not in reason


def test_any_damage_of_a_checkpoint_is_a_finding_or_harmless(local_lake: Lake, segment: Row):
    _fill(local_lake, segment)
    log = Path(local_lake.root) / "segments" / "_delta_log"
    for commit in log.iterdir():
        os.utime(commit, (0, 0))
    maintain_table(local_lake, "segments")
    (path,) = log.glob("*.checkpoint.parquet")
    whole, chosen, told = path.read_bytes(), random.Random(3), 0
    for _ in range(60):
        flipped = bytearray(whole)
        flipped[chosen.randrange(len(whole))] ^= 1 << chosen.randrange(8)
        path.write_bytes(flipped)
        damaged = verify_table(local_lake, "segments").damaged
        told += bool(damaged)
        assert all("\n" not in reason for reason in damaged.values())
    path.write_bytes(whole[:-10])
    assert list(verify_table(local_lake, "segments").damaged) == [str(log)]
    assert told


def test_a_log_that_is_lost_is_a_finding(lake: Lake, segment: Row):
    _fill(lake, segment)
    for info in list(lake.objects.list("segments/_delta_log/")):
        lake.objects.delete(info.key)
    damaged = verify_table(lake, "segments").damaged
    assert list(damaged) == [lake.objects.uri("segments/_delta_log")]
    assert "4 Parquet files are there" in next(iter(damaged.values()))


def test_a_log_that_began_again_is_a_finding(local_lake: Lake, segment: Row):
    _fill(local_lake, segment)
    rows = local_lake.read("segments", committed_only=False).slice(0, 1)
    log = Path(local_lake.root) / "segments" / "_delta_log"
    shutil.rmtree(log)
    an_hour_ago = time.time() - 3600
    for file in log.parent.glob("*.parquet"):
        os.utime(file, (an_hour_ago, an_hour_ago))
    write_deltalake(str(log.parent), rows)
    damaged = verify_table(local_lake, "segments").damaged
    assert list(damaged) == [str(log)]
    assert "began again" in damaged[str(log)]


def _finish(lake: Lake, stage: str, unit: str, tables: tuple[str, ...], outputs: int = 0) -> None:
    for table in tables:
        lake.append(table, [], unit)
    lake.commit_unit(
        stage=stage, unit_id=unit, subject="s", inputs=1, outputs=outputs, image_ids=["a"]
    )


def test_a_finished_unit_whose_commit_a_table_lost_is_named(local_lake: Lake):
    ingested = ("images", "annotations", "quarantine")
    for number in range(3):
        _finish(local_lake, "ingest", f"drop-{number}", ingested)
        _finish(local_lake, "segment", f"batch-{number}", ("segments",), outputs=1)
        _finish(local_lake, "stats", f"count-{number}", ("label_stats",))
    assert lost_units(local_lake) == {}
    for table in ("annotations", "segments"):
        Path(local_lake.root, table, "_delta_log", f"{3:020}.json").unlink()
    shutil.rmtree(Path(local_lake.root, "label_stats"))
    assert lost_units(local_lake) == {
        "annotations": ("drop-2",),
        "segments": ("batch-2",),
        "label_stats": ("count-0", "count-1", "count-2"),
    }


def test_units_without_results_and_withdrawn_ones_are_not_taken_for_lost(
    local_lake: Lake, segment: Row
):
    _finish(local_lake, "segment", "nothing found", ())
    cut(local_lake, "withdrawn", ["a"], [segment(image_id="a")], model_id="bad")
    cut(local_lake, "kept", ["b"], [segment(image_id="b")], model_id="good")
    retract(local_lake, plan_retraction(local_lake, "model", "bad"))
    assert lost_units(local_lake) == {}
    cut(local_lake, "withdrawn", ["a"], [segment(image_id="a")], model_id="bad")
    assert lost_units(local_lake) == {}


def test_units_that_cannot_be_read_are_not_asked(local_lake: Lake, segment: Row):
    cut(local_lake, "unit", ["a"], [segment(image_id="a")])
    (units,) = local_lake.file_uris("units")
    Path(units).unlink()
    assert lost_units(local_lake) == {}
