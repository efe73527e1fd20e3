"""Several processes at one lake, and processes that die: every row once, whatever happens."""

import multiprocessing
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from multiprocessing.context import ForkServerProcess
from typing import Any

import pytest

from storage.delta_tables import DeltaTables
from storage.lake import Lake
from tests.lakes import NIGHT as NOW

# Processes that start with everything imported: the writers overlap from their first moment.
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["storage.lake", "storage.objects.s3", "conftest"])
UNITS = 8
ROWS = 3

Row = Callable[..., dict[str, Any]]


def _rows(unit: str) -> list[dict[str, Any]]:
    return [
        {
            "dataset": "comics",
            "drop_id": unit,
            "file": f"{number}.png",
            "pointer": "",
            "rule": "image.empty",
            "value": "0",
            "stage": "ingest",
            "at": NOW,
        }
        for number in range(ROWS)
    ]


def _work(lake: Lake, units: list[str]) -> list[tuple[str, str]]:
    """Do units of work as a task does; return the commits that were ours."""
    ours = []
    for unit in units:
        if lake.append("quarantine", _rows(unit), unit):
            ours.append(("quarantine", unit))
        done = {"stage": "ingest", "subject": unit, "inputs": ROWS, "outputs": ROWS}
        if lake.commit_unit(unit_id=unit, **done):
            ours.append(("units", unit))
    return ours


def _race(root: str, seed: int, barrier: Any, results: Any) -> None:
    lake = Lake.open(root)
    units = [f"unit-{number}" for number in range(UNITS)]
    for unit in units:
        barrier.wait(60)  # all writers start each unit together
        results.put((seed, _work(lake, [unit])))


def _shuffled_race(root: str, seed: int, barrier: Any, results: Any) -> None:
    units = [f"unit-{number}" for number in range(UNITS)]
    random.Random(seed).shuffle(units)
    barrier.wait(60)
    results.put((seed, _work(Lake.open(root), units)))


def _endless(root: str, started: Any) -> None:
    lake = Lake.open(root)
    started.set()
    _work(lake, [f"unit-{number}" for number in range(UNITS)])


def _die_between_tables(root: str) -> None:
    lake = Lake.open(root)
    lake.append("quarantine", _rows("unit"), "unit")
    os.kill(os.getpid(), signal.SIGKILL)


def _process(target: Callable[..., None], *arguments: Any) -> ForkServerProcess:
    # The server that forks was started with an older environment.
    return PROCESSES.Process(target=_with_environment, args=(dict(os.environ), target, arguments))


def _with_environment(
    environment: dict[str, str], target: Callable[..., None], arguments: tuple[Any, ...]
) -> None:
    os.environ.update(environment)
    target(*arguments)


def _assert_every_unit_once(lake: Lake) -> None:
    expected = {
        (f"unit-{unit}", f"{number}.png"): 1 for unit in range(UNITS) for number in range(ROWS)
    }
    for committed_only in (True, False):
        rows = lake.read("quarantine", committed_only).to_pylist()
        assert Counter((row["unit_id"], row["file"]) for row in rows) == expected
    assert Counter(lake.read("units")["unit_id"].to_pylist()) == {
        f"unit-{unit}": 1 for unit in range(UNITS)
    }


def _run_all(target: Callable[..., None], root: str, writers: int) -> list[tuple[str, str]]:
    barrier, results = PROCESSES.Barrier(writers), PROCESSES.Queue()
    processes = [_process(target, root, seed, barrier, results) for seed in range(writers)]
    for process in processes:
        process.start()
    reports = UNITS * writers if target is _race else writers
    commits = [commit for _ in range(reports) for commit in results.get(timeout=120)[1]]
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    return commits


@pytest.mark.parametrize("race", [_race, _shuffled_race])
def test_writers_of_the_same_units_commit_each_once(root: str, race: Callable[..., None]):
    commits = _run_all(race, root, writers=2)
    assert Counter(commits) == {
        (table, f"unit-{unit}"): 1 for table in ("quarantine", "units") for unit in range(UNITS)
    }, "of all writers exactly one must be told that the commit is its own"
    _assert_every_unit_once(Lake.open(root))


def test_a_stale_writer_of_the_same_unit_is_refused(lake: Lake, monkeypatch: pytest.MonkeyPatch):
    """The other writer commits after this one looked, and before it writes."""
    lake.append("quarantine", [], "made")
    stale = lake.table("quarantine")
    other = Lake(lake.root)
    opened = [stale]
    mine, original = lake._tables, DeltaTables.open

    def open_once_stale(self: DeltaTables, table: str, version: int | None = None) -> Any:
        if self is mine and opened:
            assert other.append("quarantine", _rows("unit"), "unit")
            return opened.pop()
        return original(self, table, version)

    monkeypatch.setattr(DeltaTables, "open", open_once_stale)
    assert not lake.append("quarantine", _rows("unit"), "unit")
    assert not opened
    assert lake.read("quarantine", committed_only=False).num_rows == ROWS


def test_a_unit_that_died_between_its_tables_is_invisible_until_it_runs_again(
    lake: Lake, root: str
):
    process = _process(_die_between_tables, root)
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    assert lake.has_unit("quarantine", "unit")
    assert not lake.has_unit("units", "unit")
    assert lake.read("quarantine").num_rows == 0
    assert lake.read("quarantine", committed_only=False).num_rows == ROWS

    assert _work(lake, ["unit"]) == [("units", "unit")]
    assert lake.read("quarantine").num_rows == ROWS
    assert _work(lake, ["unit"]) == []


def _kill_after(process: ForkServerProcess, started: Any, seconds: float) -> None:
    process.start()
    assert started.wait(60)
    time.sleep(seconds)
    process.kill()
    process.join(60)


def test_killing_a_writer_at_any_time_neither_loses_nor_doubles_rows(root: str):
    killed = 0
    for seconds in (0.0, 0.015, 0.04, 0.08):
        started = PROCESSES.Event()
        process = _process(_endless, root, started)
        _kill_after(process, started, seconds)
        killed += process.exitcode == -signal.SIGKILL
        lake = Lake.open(root)
        visible = Counter(lake.read("quarantine")["unit_id"].to_pylist())
        assert set(visible.values()) <= {ROWS}, "a reader sees whole units"
    assert killed, "at least one writer must have been killed at work"
    lake = Lake.open(root)
    _work(lake, [f"unit-{number}" for number in range(UNITS)])
    _assert_every_unit_once(lake)
