import multiprocessing
import os
import signal
from datetime import timedelta

import pytest

from storage.objects import open_store
from tasks import attempts as module
from tasks.attempts import Attempts

IMAGE, OTHER = "a" * 64, "b" * 64


@pytest.fixture
def store(tmp_path):
    return open_store(str(tmp_path))


def attempt_and_die(root, image_id):
    Attempts(open_store(root), "segment", "models").begin(image_id)
    os.kill(os.getpid(), signal.SIGKILL)


def die(root, image_id):
    process = multiprocessing.get_context("spawn").Process(
        target=attempt_and_die, args=(root, image_id)
    )
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL


def test_what_ended_is_no_death(store):
    own = Attempts(store, "segment", "models")
    own.begin(IMAGE)
    own.end(IMAGE)
    assert not Attempts(store, "segment", "models").deaths([IMAGE])
    assert not list(store.list())


def test_each_process_that_died_counts_once_and_for_its_image_only(store, tmp_path):
    die(str(tmp_path), IMAGE)
    die(str(tmp_path), IMAGE)
    deaths = Attempts(store, "segment", "models").deaths([IMAGE, OTHER])
    assert deaths == {IMAGE: 2}
    assert not Attempts(store, "segment", "other-models").deaths([IMAGE])


def test_what_is_finished_is_forgotten(store, tmp_path):
    die(str(tmp_path), IMAGE)
    die(str(tmp_path), OTHER)
    own = Attempts(store, "segment", "models")
    own.forget([IMAGE])
    assert own.deaths([IMAGE, OTHER]) == {OTHER: 1}


def test_an_attempt_of_a_living_process_is_no_death(store, monkeypatch):
    Attempts(store, "segment", "models").begin(IMAGE)
    monkeypatch.setattr(module, "_PROCESS", "another")
    monkeypatch.setattr(module.os, "getpid", os.getppid)
    living = Attempts(store, "segment", "models")
    living.begin(IMAGE)
    monkeypatch.undo()
    assert not Attempts(store, "segment", "models").deaths([IMAGE])


def test_of_another_machine_only_an_old_attempt_is_a_death(store, monkeypatch):
    monkeypatch.setattr(module, "_HOST", "far-away")
    Attempts(store, "segment", "models").begin(IMAGE)
    monkeypatch.undo()
    own = Attempts(store, "segment", "models")
    assert not own.deaths([IMAGE])
    monkeypatch.setattr(module, "LONGEST", timedelta(0))
    assert own.deaths([IMAGE]) == {IMAGE: 1}
    assert len(list(store.list())) == 1
