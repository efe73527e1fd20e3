"""A night, a retraction, the same night again."""

from collections.abc import Iterator
from typing import Any

import pytest

from flows.maintain import run_maintain
from flows.nightly import run_nightly
from flows.requests import MaintainRequest
from storage.queries import named_query
from storage.retraction import plan_retraction, retract
from storage.session import connect
from tests.drops import BLUE, GRAY, GREEN, RED, write_box_drop

pytestmark = pytest.mark.slow

MONDAY = [[((4, 4, 10, 8), RED), ((30, 20, 12, 10), BLUE)], [((2, 30, 20, 10), RED)]]
SHARED = [((10, 10, 6, 6), GREEN), ((40, 8, 9, 9), GRAY)]
TIMES = {
    "unit_id", "run_id", "created_at", "ingested_at", "at", "committed_at", "computed_from",
    "device_seconds",
}  # fmt: skip
TABLES = ["images", "annotations", "segments", "image_labels", "label_stats", "quarantine", "units"]


def night(mill):
    return run_nightly(mill.request, mill.settings, mill.run())[0]


def rows(mill, *left_out: str) -> dict[str, list[str]]:
    """What readers see, without times and the names of runs; of statistics the newest."""
    found = {table: mill.lake.read(table) for table in TABLES if table not in left_out}
    if "label_stats" in found:
        with connect(mill.lake) as session:
            found["label_stats"] = session.sql(named_query("latest_label_stats")).to_arrow_table()
    return {
        table: sorted(
            str(sorted((name, value) for name, value in row.items() if name not in TIMES))
            for row in data.to_pylist()
        )
        for table, data in found.items()
    }


def counts(mill, *tables: str) -> list[int]:
    return [mill.lake.read(table, committed_only=False).num_rows for table in tables]


def retracted(mill, kind: Any, name: str) -> dict[str, int]:
    return retract(mill.lake, plan_retraction(mill.lake, kind, name))


@pytest.fixture(params=[False, True], ids=["as written", "maintained"])
def maintained(request) -> Iterator[bool]:
    return request.param


def keep(mill, maintained):
    if maintained:
        run_maintain(MaintainRequest(), mill.settings, mill.run())


def test_after_a_model_is_retracted_the_night_cuts_the_same_again(mill, maintained):
    write_box_drop(mill.inbox / "monday", [*MONDAY, SHARED])
    summary = night(mill)
    keep(mill, maintained)
    before = rows(mill)
    retracted(mill, "model", summary.segment.model_id)
    assert counts(mill, "segments", "image_labels", "label_stats") == [0, 0, 0]
    assert counts(mill, "images", "annotations") == [3, 5]
    keep(mill, maintained)
    again = night(mill)
    assert again.segment.segments == summary.segment.segments == 5
    assert rows(mill) == before
    assert night(mill).segment.batches == 0
    assert counts(mill, "segments") == [5]


def test_after_a_drop_is_retracted_the_night_takes_it_in_again(mill, maintained):
    write_box_drop(mill.inbox / "monday", [*MONDAY, SHARED])
    night(mill)
    keep(mill, maintained)
    before = rows(mill)
    retracted(mill, "drop", "inbox/monday/")
    assert counts(mill, *TABLES) == [0] * len(TABLES)
    summary = night(mill)
    assert (summary.ingest.images, summary.segment.segments) == (3, 5)
    assert rows(mill) == before
    assert night(mill).ingest.drops == []


def test_what_another_drop_brings_too_keeps_its_segments(mill, maintained):
    write_box_drop(mill.inbox / "monday", [*MONDAY, SHARED])
    night(mill)
    write_box_drop(mill.inbox / "tuesday", [SHARED, [((8, 8, 30, 30), BLUE)]])
    night(mill)
    keep(mill, maintained)
    before = rows(mill, "units")
    assert mill.ask("SELECT count(*) FROM images") == [(4,)]
    retracted(mill, "drop", "inbox/monday/")
    assert mill.ask("SELECT count(*) FROM images") == [(2,)]
    assert mill.ask("SELECT label, count(*) FROM segments GROUP BY 1 ORDER BY 1") == [
        ("blue", 1),
        ("green", 1),
        ("unknown", 1),
    ]
    assert counts(mill, "segments", "image_labels", "annotations") == [3, 3, 3]
    calls = mill.segmenter.calls
    night(mill)
    assert mill.segmenter.calls == calls + 2, "monday's own two images, and no other"
    shown = {table: found for table, found in rows(mill, "units").items() if table != "images"}
    assert shown == {table: found for table, found in before.items() if table != "images"}
    assert mill.ask("SELECT count(*) FROM images") == [(4,)]


def test_after_a_run_is_retracted_the_night_does_it_again(mill):
    write_box_drop(mill.inbox / "monday", MONDAY)
    night(mill)
    before = rows(mill)
    write_box_drop(mill.inbox / "tuesday", [SHARED])
    night(mill)
    both = rows(mill)
    ((run,),) = mill.ask("SELECT DISTINCT run_id FROM units ORDER BY committed_at DESC LIMIT 1")
    retracted(mill, "run", run)
    assert rows(mill, "units", "label_stats") == {
        table: found for table, found in before.items() if table not in ("units", "label_stats")
    }
    night(mill)
    assert rows(mill, "units") == {table: f for table, f in both.items() if table != "units"}
