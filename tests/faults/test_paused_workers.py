"""A worker that stops for a while and goes on, and what dead ones left, change nothing."""

import os
import random
import signal
import time

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
pytestmark = [pytest.mark.slow, pytest.mark.sweep, pytest.mark.timeout(1500)]


@pytest.fixture
def processes():
    stop_server()
    yield night_processes()
    stop_server()


def violations(processes, folder, drop, rounds, broken=False):
    finish(start(processes, str(folder / "undisturbed"), drop))
    expected = rows_of(str(folder / "undisturbed"))
    chosen, wrong, paused = random.Random(7), [], 0
    for number in range(rounds):
        root = str(folder / f"round-{number}")
        sleeper = start(processes, root, drop, broken)
        sleeper.join(chosen.uniform(0.1, 1.0))
        if sleeper.is_alive():
            os.kill(sleeper.pid, signal.SIGSTOP)
            paused += 1
        finish(start(processes, root, drop, broken))
        os.kill(sleeper.pid, signal.SIGCONT) if sleeper.is_alive() else None
        finish(sleeper)
        if rows_of(root) != expected:
            wrong.append(number)
    assert paused
    return wrong


def test_a_worker_that_wakes_up_after_another_did_its_work_adds_nothing(processes, tmp_path):
    assert violations(processes, tmp_path, write_drop(tmp_path), ROUNDS) == []


def test_the_rounds_catch_a_lake_that_forgets_what_it_committed(processes, tmp_path):
    assert violations(processes, tmp_path, write_drop(tmp_path), 3 * ROUNDS, broken=True)


def test_what_dead_workers_left_stands_in_nobodys_way(processes, tmp_path):
    drop, root = write_drop(tmp_path), tmp_path / "root"
    long_ago = time.time() - 30 * 86_400
    for folder in ("lake/segments", "lake/units/_delta_log", "images", "masks", "inbox/monday"):
        (root / folder).mkdir(parents=True)
        left = root / folder / ".segmill-tmp-0123456789abcdef"
        left.write_bytes(b"half of it")
        os.utime(left, (long_ago, long_ago))
    finish(start(processes, str(root), drop))
    finish(start(processes, str(tmp_path / "clean"), drop))
    assert rows_of(str(root)) == rows_of(str(tmp_path / "clean"))
