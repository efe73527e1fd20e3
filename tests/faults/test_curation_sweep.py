"""SIGKILL at the calls by which decisions are stored: none is lost or doubled afterwards."""

import shutil
import signal

import pytest

from storage.lake import Lake
from storage.session import connect
from tests.faults.curation_process import curate, prepare
from tests.faults.sweeping import STEP, processes_with_file_faults

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

ROWS = {
    "reviews": "SELECT segment_id, decision, label, reviewer, version FROM reviews",
    "curated": "SELECT object_id, label, source, reviewer FROM curated",
    "crossings": "SELECT crossing_id, state, new_masks, reviews_version FROM crossings",
}


@pytest.fixture
def processes(tmp_path, monkeypatch):
    with processes_with_file_faults(tmp_path, monkeypatch) as found:
        yield found


def rows_of(root):
    with connect(Lake.open(str(root))) as session:
        return {name: sorted(session.execute(sql).fetchall()) for name, sql in ROWS.items()}


def run(processes, root, broken, at=-1, after=0, log=None):
    watch = (str(root), at, after, None if log is None else str(log))
    process = processes.Process(target=curate, args=(str(root), broken, watch))
    process.start()
    process.join(120)
    return process.exitcode


def violations(processes, folder, step, broken=False):
    """Kill at every so many calls; returns the points after which rows were wrong."""
    prepared, undisturbed, log = folder / "prepared", folder / "undisturbed", folder / "calls.log"
    prepare(str(prepared))
    shutil.copytree(prepared, undisturbed)
    assert run(processes, undisturbed, broken, log=log) == 0
    calls, expected = log.read_text().splitlines(), rows_of(undisturbed)
    assert [len(rows) for rows in expected.values()] == [7, 4, 2]
    wrong, deaths = [], 0
    for number, at in enumerate(range(0, len(calls), step)):
        root = folder / f"killed-{at}"
        shutil.copytree(prepared, root)
        deaths += run(processes, root, broken, at, number % 2) == -signal.SIGKILL
        assert run(processes, root, broken) == 0
        if rows_of(root) != expected:
            wrong.append((at, number % 2, calls[at]))
        shutil.rmtree(root)
    assert deaths > 0.8 * len(range(0, len(calls), step))
    return wrong


def test_no_decision_is_lost_or_doubled_wherever_it_is_killed(processes, tmp_path):
    assert violations(processes, tmp_path, max(1, STEP // 10)) == []


def test_the_sweep_catches_clients_that_forget_what_they_decided(processes, tmp_path):
    assert violations(processes, tmp_path, max(1, STEP // 5), broken=True)
