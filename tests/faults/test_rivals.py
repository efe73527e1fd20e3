"""Five workers on one drop, killed at random: each row once, after one more run."""

import os
import random
import shutil
import signal

import pytest

from tests.faults.sweeping import (
    finish,
    night_processes,
    rows_of,
    start,
    stop_server,
    write_drop,
)

ROUNDS = int(os.environ.get("SEGMILL_SWEEP_ROUNDS", "4"))
WORKERS = 5
pytestmark = [pytest.mark.slow, pytest.mark.sweep, pytest.mark.timeout(3000)]


@pytest.fixture
def processes():
    stop_server()
    yield night_processes()
    stop_server()


def violations(processes, folder, drop, rounds, broken=False):
    """The rounds after which rows were wrong, and how many workers were killed in all."""
    finish(start(processes, str(folder / "undisturbed"), drop))
    expected = rows_of(str(folder / "undisturbed"))
    chosen = random.Random(5)
    wrong, killed = [], 0
    for number in range(rounds):
        root = folder / f"round-{number}"
        workers = [start(processes, str(root), drop, broken) for _ in range(WORKERS)]
        for worker in chosen.sample(workers, 3):
            worker.join(chosen.uniform(0, 2))
            worker.kill()
        for worker in workers:
            worker.join(120)
            killed += worker.exitcode == -signal.SIGKILL
            # Those that were not killed may have lost a race too often, but not done wrong.
            assert worker.exitcode is not None
        finish(start(processes, str(root), drop, broken))
        if rows_of(str(root)) != expected:
            wrong.append(number)
        shutil.rmtree(root)
    return wrong, killed


def test_rivals_that_are_killed_at_random_lose_and_double_nothing(processes, tmp_path):
    wrong, killed = violations(processes, tmp_path, write_drop(tmp_path), ROUNDS)
    assert wrong == []
    assert killed >= ROUNDS


def test_the_rounds_catch_a_lake_that_forgets_what_it_committed(processes, tmp_path):
    wrong, _ = violations(processes, tmp_path, write_drop(tmp_path), ROUNDS, broken=True)
    assert wrong
