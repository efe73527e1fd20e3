"""segmill watch --forever, stopped where it would sleep."""

import json
import time
from types import SimpleNamespace

import pytest

from tests.drops import RED, write_box_drop


@pytest.fixture
def sleeps(monkeypatch):
    """What is done at each sleep of the watch; after them somebody presses Ctrl-C."""
    steps = []

    def sleep(seconds):
        assert 0 <= seconds <= 5
        if not steps:
            raise KeyboardInterrupt
        steps.pop(0)()

    clock = SimpleNamespace(sleep=sleep, monotonic=time.monotonic)
    monkeypatch.setattr("app.watching.time", clock)
    return steps


def watch(command, *options):
    answer = command("watch", "--forever", "--interval", "5", "--json", *options)
    assert answer.code == 130
    answer.looks = [json.loads(line)["drops"] for line in answer.out.splitlines()]
    return answer


def test_a_drop_is_said_once_and_again_when_it_was_not_taken_in(command, root, sleeps, monkeypatch):
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    write_box_drop(root / "inbox" / "monday", [[((4, 4, 10, 8), RED)]])
    monkeypatch.setattr("app.watching._AGAIN_SECONDS", 1e9)
    sleeps += [lambda: None, lambda: None]
    answer = watch(command)
    assert answer.looks == [["inbox/monday/"]] * 3
    assert answer.err.count("1 complete new drop") == 1
    monkeypatch.setattr("app.watching._AGAIN_SECONDS", 0.0)
    sleeps += [lambda: None, lambda: None]
    assert watch(command).err.count("1 complete new drop") == 3


def test_tables_that_cannot_be_read_for_a_while_are_told_once_and_do_not_end_it(
    command, root, sleeps
):
    write_box_drop(root / "inbox" / "monday", [[((4, 4, 10, 8), RED)]])
    assert command("ingest").code == 0
    (file, *_) = (root / "lake" / "units").glob("*.parquet")
    away = file.with_suffix(".away")
    sleeps += [
        lambda: file.rename(away),
        lambda: None,
        lambda: away.rename(file),
        lambda: None,
    ]
    answer = watch(command)
    assert answer.looks == [[]] * 3
    assert answer.err.count("trouble: ") == 1
    assert answer.err.count("going on without trouble") == 1
