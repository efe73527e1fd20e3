import multiprocessing
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from storage.objects import open_store
from tasks import attempts as module
from tasks.attempts import Attempts

IMAGE, OTHER = "a" * 64, "b" * 64


@pytest.fixture
def store(tmp_path):
    return open_store(str(tmp_path))


def attempt_and_die(root, *groups):
    own = Attempts(open_store(root), "unit")
    for group in groups:
        own.begin(group)
    os.kill(os.getpid(), signal.SIGKILL)


def die(root, *groups):
    process = multiprocessing.get_context("spawn").Process(
        target=attempt_and_die, args=(str(root), *groups)
    )
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL


def past(store):
    found = Attempts(store, "unit").past()
    return found.suspects, dict(found.deaths)


def test_what_ended_leaves_nothing(store):
    own = Attempts(store, "unit")
    own.end(own.begin([IMAGE, OTHER]))
    assert past(store) == (frozenset(), {})
    assert not list(store.list())


def test_an_image_that_processes_died_at_alone_is_known(store, tmp_path):
    for _ in range(2):
        die(tmp_path, [IMAGE])
    assert past(store) == ({IMAGE}, {IMAGE: 2})
    assert not Attempts(store, "another-unit").past().suspects


@pytest.mark.parametrize("groups", [([IMAGE, OTHER],), ([IMAGE], [OTHER])])
def test_of_several_images_at_once_each_is_a_suspect_and_none_known(store, tmp_path, groups):
    for _ in range(3):
        die(tmp_path, *groups)
    assert past(store) == ({IMAGE, OTHER}, {})


def test_what_is_finished_is_forgotten(store, tmp_path):
    die(tmp_path, [IMAGE])
    Attempts(store, "unit").forget()
    assert not list(store.list())


def test_an_attempt_of_a_living_process_is_no_death(store, monkeypatch):
    monkeypatch.setattr(module.os, "getpid", os.getppid)
    monkeypatch.setattr(module, "LONGEST", timedelta(0))
    Attempts(store, "unit").begin([IMAGE])
    monkeypatch.undo()
    assert past(store) == ({IMAGE}, {})


def test_of_another_machine_only_an_old_attempt_is_a_death(store, monkeypatch):
    monkeypatch.setattr(module, "_HOST", "far-away")
    Attempts(store, "unit").begin([IMAGE])
    monkeypatch.undo()
    assert past(store) == ({IMAGE}, {})
    monkeypatch.setattr(module, "LONGEST", timedelta(seconds=-1))
    assert past(store) == ({IMAGE}, {IMAGE: 1})
    assert len(list(store.list())) == 1


def test_threads_may_ask_at_once(store, tmp_path):
    die(tmp_path, [IMAGE])
    own = Attempts(store, "unit")
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda _: own.past(), range(40)))
    assert {dict(one.deaths)[IMAGE] for one in found} == {1}
