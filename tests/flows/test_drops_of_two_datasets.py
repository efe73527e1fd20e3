"""The same files for two datasets: what became of them in one says nothing about the other."""

import json
import shutil

import pytest

from flows.ingest import run_ingest
from flows.requests import IngestRequest
from flows.running import InProcess
from storage.queries import named_query
from storage.retraction import plan_retraction, retract
from storage.session import connect
from tasks.drop_units import Limits
from tasks.drops import find_drops
from tasks.seal_drops import seal_drops
from tests.drops import BLUE, RED, write_box_drop, write_document

PICTURES = [[((4, 4, 10, 8), RED)], [((30, 20, 12, 10), BLUE)]]
COUNTS = "SELECT dataset, count(*) FROM annotations GROUP BY 1 ORDER BY 1"


def ingest(mill, dataset, source=None):
    request = IngestRequest(dataset=dataset, source=source and str(source))
    return run_ingest(request, mill.settings, InProcess())


def seal(mill, dataset):
    """What a run does that dies before it takes in what it sealed."""
    found = find_drops.fn(mill.settings.root, dataset, 60, Limits.of(mill.settings))
    assert len(seal_drops.fn(mill.settings.root, found).drops) == 1


@pytest.fixture
def copy(mill, tmp_path):
    """A copy in `trial` of a drop of `mine` that was changed and sealed, but not taken in."""
    drop = mill.inbox / "monday"
    document = write_box_drop(drop, PICTURES)
    ingest(mill, "mine")
    document["annotations"] = document["annotations"][:1]
    write_document(drop, document)
    seal(mill, "mine")
    folder = tmp_path / "copy"
    shutil.copytree(drop, folder)
    ingest(mill, "trial", folder)
    return folder


def test_what_is_ingested_in_one_replaces_nothing_in_the_other(mill, copy):
    assert mill.ask(COUNTS) == [("mine", 2), ("trial", 1)]


def test_what_is_ingested_in_one_is_still_found_for_the_other(mill, copy):
    (drop,) = ingest(mill, "mine").drops
    assert (drop.annotations, drop.already_ingested) == (1, False)
    assert mill.ask(COUNTS) == [("mine", 1), ("trial", 1)]
    assert ingest(mill, "mine").drops == []


def test_what_is_refused_in_one_is_still_found_for_the_other(mill, tmp_path):
    write_box_drop(mill.inbox / "monday", PICTURES)
    (mill.inbox / "monday" / "annotations.json").write_text(json.dumps([]))
    seal(mill, "mine")
    shutil.copytree(mill.inbox / "monday", tmp_path / "copy")
    assert [drop.rejected for drop in ingest(mill, "trial", tmp_path / "copy").drops] == [True]
    assert [drop.rejected for drop in ingest(mill, "mine").drops] == [True]
    assert ingest(mill, "mine").drops == []


def test_retracting_a_place_takes_nothing_from_the_other(mill, copy):
    assert retract(mill.lake, plan_retraction(mill.lake, "drop", "inbox/monday/"))
    assert mill.ask(COUNTS) == [("trial", 1)]
    assert retract(mill.lake, plan_retraction(mill.lake, "drop", str(copy.resolve())))
    assert mill.ask(COUNTS) == []


def test_the_last_run_of_one_is_not_told_of_the_other(mill, copy):
    with connect(mill.lake) as session:
        last = {
            dataset: session.execute(named_query("last_night"), {"dataset": dataset}).fetchall()
            for dataset in ("mine", "trial")
        }
    outputs = {name: [(row[1], row[2], row[4]) for row in rows] for name, rows in last.items()}
    assert outputs == {"mine": [("ingest", 1, 4)], "trial": [("ingest", 1, 3)]}
