"""SIGKILL at the calls by which a night changes files: nothing lost, nothing twice, afterwards.

As the sweep of requests, with a lake in a folder. The calls are those of all that runs in the
process, Python or not; a small library that is loaded before the C library sees them.
"""

import shutil
import signal

import pytest

from tests.faults.sweeping import (
    STEP,
    finish,
    processes_with_file_faults,
    rows_of,
    start,
    write_drop,
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]


@pytest.fixture
def processes(tmp_path, monkeypatch):
    with processes_with_file_faults(tmp_path, monkeypatch) as found:
        yield found


def calls_of_a_night(processes, root, drop, broken):
    log = root.with_suffix(".log")
    finish(start(processes, str(root), drop, broken, watch=(str(root), -1, 0, str(log))))
    return log.read_text().splitlines(), rows_of(str(root))


def violations(processes, folder, drop, step, broken=False):
    """Kill a night at every so many calls; returns the points after which rows were wrong."""
    calls, expected = calls_of_a_night(processes, folder / "undisturbed", drop, broken)
    # Of every part of it: objects, Delta's log, its checkpoints.
    assert {call.split()[0] for call in calls} >= {"open64", "write", "fsync", "rename"}
    assert any("_delta_log" in call for call in calls)
    wrong, deaths = [], 0
    for number, at in enumerate(range(0, len(calls), step)):
        root, after = folder / f"killed-{at}", number % 2
        victim = start(processes, str(root), drop, broken, watch=(str(root), at, after, None))
        victim.join(120)
        deaths += victim.exitcode == -signal.SIGKILL
        finish(start(processes, str(root), drop, broken))
        if rows_of(str(root)) != expected:
            wrong.append((at, after, calls[at]))
        shutil.rmtree(root)
    assert deaths > 0.8 * len(range(0, len(calls), step))
    return wrong


def test_nothing_is_lost_or_doubled_wherever_a_night_is_killed(processes, tmp_path):
    assert violations(processes, tmp_path, write_drop(tmp_path), STEP // 2) == []


def test_the_sweep_catches_a_lake_that_forgets_what_it_committed(processes, tmp_path):
    assert violations(processes, tmp_path, write_drop(tmp_path), STEP, broken=True)
