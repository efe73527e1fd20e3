"""Processes that end together, with children that are hard to end."""

import os
import signal
import sys
import time

import pytest

from app.stack.children import ChildDiedError, Children, EndAskedError
from app.stack.descendants import _table, alive, descendants

STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf'); "
AWAY = (
    "import subprocess, sys, time; "
    "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'], "
    "start_new_session=True); print('left', flush=True); time.sleep(600)"
)


@pytest.fixture
def lines():
    return []


@pytest.fixture
def children(lines):
    made = Children(lambda name, line: lines.append((name, line)))
    yield made
    made.stop(0.1)


def python(children, tmp_path, code, name="child"):
    return children.start(name, [sys.executable, "-u", "-c", code], {"PATH": ""}, tmp_path)


def until(ready):
    deadline = time.monotonic() + 20
    while not ready():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_lines_come_with_the_name_and_whatever_bytes_they_hold(children, lines, tmp_path):
    code = (
        "import sys; sys.stdout.buffer.write(b'one\\n\\xff two\\nlast'); sys.stderr.write('e\\n')"
    )
    children.finish(python(children, tmp_path, code, "talker"), 20)
    assert {name for name, _ in lines} == {"talker"}
    assert [line for _, line in lines][:2] == ["one", "� two"]


def test_a_child_that_fails_is_named(children, tmp_path):
    with pytest.raises(ChildDiedError, match="worker ended with code 3"):
        children.finish(python(children, tmp_path, "raise SystemExit(3)", "worker"), 20)


def test_a_child_that_should_go_on_but_ends_is_named(children, tmp_path):
    python(children, tmp_path, "import time; time.sleep(600)", "server")
    quick = python(children, tmp_path, "pass", "worker")
    quick.process.wait()
    with pytest.raises(ChildDiedError, match="worker ended with code 0"):
        children.check()


def test_a_step_that_takes_too_long_is_told(children, tmp_path):
    with pytest.raises(TimeoutError, match="step took longer"):
        children.finish(python(children, tmp_path, "import time; time.sleep(600)", "step"), 0.5)


def test_the_deaf_and_those_that_left_the_group_are_ended_in_bounded_time(
    children, lines, tmp_path
):
    deaf = python(children, tmp_path, STUBBORN + "time.sleep(600)", "deaf")
    away = python(children, tmp_path, AWAY, "away")
    until(lambda: len(lines) == 2)
    below = descendants(away.process.pid)
    assert len(below) == 1
    began = time.monotonic()
    children.stop(1)
    assert time.monotonic() - began < 6
    assert alive(below) == set()
    assert (deaf.process.returncode, away.process.returncode is None) == (-9, False)


def test_what_a_killed_child_had_started_is_ended_as_well(children, lines, tmp_path):
    """As a worker that ran out of memory: its runs are in sessions of their own, without parent."""
    away = python(children, tmp_path, AWAY, "away")
    until(lambda: lines)
    children.check()
    below = descendants(away.process.pid)
    assert len(below) == 1
    os.kill(away.process.pid, signal.SIGKILL)
    away.process.wait()
    with pytest.raises(ChildDiedError, match="away was killed by signal 9"):
        children.check()
    assert children.stop(1) == []
    assert alive(below) == set()


def test_the_end_can_be_asked_for_while_something_is_started(children, tmp_path):
    going = python(children, tmp_path, "import time; time.sleep(600)", "going")
    children.ask_for_end()
    with pytest.raises(EndAskedError):
        children.finish(python(children, tmp_path, "import time; time.sleep(600)", "step"), 20)
    assert children.stop(1) == []
    assert going.process.returncode == -signal.SIGTERM


def test_what_cannot_be_killed_is_told_and_not_waited_for(children, tmp_path, monkeypatch):
    # Nothing here waits for a disk that is gone; so nobody is killed instead.
    monkeypatch.setattr("app.stack.children._KILL_SECONDS", 0.5)
    monkeypatch.setattr("app.stack.children.kill", lambda keys: None)
    away = python(children, tmp_path, AWAY, "away")
    until(lambda: descendants(away.process.pid))
    (below,) = descendants(away.process.pid)
    try:
        assert children.stop(1) == [below.pid]
    finally:
        os.kill(below.pid, signal.SIGKILL)


def test_what_a_run_starts_after_its_worker_has_ended_is_ended_too(children, lines, tmp_path):
    """Runs have sessions of their own, and other processes take their time to end."""
    run = (
        "import signal, subprocess, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
        "time.sleep(3); "
        "print(subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'], "
        "start_new_session=True).pid, flush=True); time.sleep(600)"
    )
    worker = (
        f"import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', {run!r}], "
        "start_new_session=True); print('at work', flush=True); time.sleep(600)"
    )
    python(children, tmp_path, STUBBORN + "time.sleep(600)", "server")
    python(children, tmp_path, worker, "worker")
    until(lambda: ("worker", "at work") in lines)
    children.check()
    assert children.stop(6) == []
    (late,) = [int(line) for name, line in lines if name == "worker" and line.isdigit()]
    assert late not in {key.pid for key in _table()}
