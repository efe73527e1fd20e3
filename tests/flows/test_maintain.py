from pathlib import Path

import pytest

from flows.maintain import run_maintain
from flows.nightly import run_nightly
from flows.requests import MaintainRequest
from flows.summaries import TablesDamagedError
from storage.retraction import plan_retraction, retract
from storage.table_logs import lost_units
from tests.drops import BLUE, RED, write_box_drop


def nights(mill, count):
    for number in range(count):
        write_box_drop(mill.inbox / f"day-{number}", [[((4 + number, 4, 10, 8), RED)]])
        run_nightly(mill.request, mill.settings, mill.run())


def maintained(mill, **changes):
    return run_maintain(MaintainRequest(**changes), mill.settings, mill.run())


def test_after_some_nights_each_table_is_one_file_with_the_same_rows(mill):
    nights(mill, 3)
    before = mill.tables()
    summary = maintained(mill)
    found = {table.table: table for table in summary.tables}
    assert {"drops", "images", "annotations", "segments", "units"} <= found.keys()
    assert {table.files_after for table in summary.tables if table.files_before} == {1}
    assert found["segments"].files_before == 3
    assert mill.tables() == before


def test_the_nights_after_it_go_on_where_the_others_ended(mill):
    nights(mill, 2)
    maintained(mill)
    before, calls = mill.tables(), mill.segmenter.calls
    run_nightly(mill.request, mill.settings, mill.run())
    assert mill.tables() == before
    assert mill.segmenter.calls == calls
    write_box_drop(mill.inbox / "tomorrow", [[((30, 20, 12, 10), BLUE)]])
    run_nightly(mill.request, mill.settings, mill.run())
    assert mill.ask("SELECT count(*) FROM segments") == [(3,)]


def test_a_dry_run_changes_nothing(mill):
    nights(mill, 2)
    files = sorted(mill.root.rglob("*"))
    summary = maintained(mill, dry_run=True)
    assert sorted(mill.root.rglob("*")) == files
    assert any(table.merged for table in summary.tables)


def test_the_other_tables_do_not_wait_for_a_damaged_one(mill):
    nights(mill, 2)
    damaged = Path(mill.lake.file_uris("segments")[0])
    damaged.write_bytes(damaged.read_bytes()[:-9])
    summary = maintained(mill)
    assert "segments" not in {table.table for table in summary.tables}
    assert {table.table: table.files_after for table in summary.tables}["images"] == 1
    with pytest.raises(TablesDamagedError, match=damaged.name):
        summary.raise_for_damage()


def test_no_work_is_taken_for_lost_after_nights_a_retraction_and_maintenance(mill):
    nights(mill, 2)
    write_box_drop(mill.inbox / "empty", [[]])
    run_nightly(mill.request, mill.settings, mill.run())
    assert lost_units(mill.lake) == {}
    retract(mill.lake, plan_retraction(mill.lake, "drop", "inbox/day-0/"))
    maintained(mill)
    assert lost_units(mill.lake) == {}
    (newest, *_) = sorted(Path(mill.lake.root, "quarantine", "_delta_log").glob("*.json"))[::-1]
    for commit in newest.parent.glob("*"):
        if commit != newest.with_name(f"{0:020}.json"):
            commit.unlink()
    assert len(lost_units(mill.lake)["quarantine"]) == 2
