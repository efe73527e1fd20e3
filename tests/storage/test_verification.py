import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from deltalake import write_deltalake

from storage.errors import UnknownTableError
from storage.lake import Lake
from storage.maintenance import maintain_table
from storage.schemas import TABLES
from storage.verification import verify_table

Row = Callable[..., dict[str, Any]]
FLIPS = 240


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
    found = verify_table(local_lake, "segments")
    assert found.strays == (str(stray),)
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
    assert list(verify_table(local_lake, "segments").damaged) == [str(log)]
