import multiprocessing
import pickle
from pathlib import Path
from unittest.mock import patch

import pytest
from prefect import task

from flows.nightly import run_nightly
from flows.running import (
    InProcess,
    RelativeRootError,
    SettingsRefusedError,
    worker_settings,
)
from tasks.drops import place_of
from tasks.models import LoadedModels
from tasks.seal_drops import EmptyDropError, read_drop
from tests.drops import BLUE, GREEN, RED, write_box_drop
from tests.fakes import ColorLabeller, ComponentSegmenter


@task
def double(number: int, *, plus: int = 0) -> int:
    return 2 * number + plus


def test_steps_run_without_a_server():
    run = InProcess()
    assert run.call(double, 4) == 8
    assert run.each(double, [1, 2, 3], plus=1) == [3, 5, 7]


def test_stages_are_timed_in_order():
    run = InProcess()
    for name in ("first", "second"):
        with run.stage(name):
            pass
    assert [stage.stage for stage in run.stages] == ["first", "second"]


def test_a_counter_tells_how_far_the_stage_is():
    told = []
    run = InProcess(lambda *report: told.append(report))
    with run.stage("segment"):
        on_image = run.counter(2)
        on_image("a.png")
        on_image("b.png")
    assert told == [("segment", 0, 2), ("segment", 1, 2, "a.png"), ("segment", 2, 2, "b.png")]
    assert InProcess().counter(2) is None


def test_a_worker_refuses_a_root_that_would_vanish_with_its_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("SEGMILL_ROOT", "segmill-root")
    with pytest.raises(RelativeRootError, match="segmill-root"):
        worker_settings()
    for root in (str(tmp_path), "s3://bucket/data"):
        monkeypatch.setenv("SEGMILL_ROOT", root)
        assert worker_settings().root == root


def test_the_id_of_a_drop_is_its_content_wherever_it_lies(tmp_path):
    for name in ("a", "b"):
        write_box_drop(tmp_path / name, [[((4, 4, 10, 8), RED)]], done=name == "a")
    first, second = (read_drop(place_of(str(tmp_path / name), "d")) for name in ("a", "b"))
    assert first.drop_id == second.drop_id
    (tmp_path / "b" / "more.png").write_bytes(b"x")
    assert read_drop(place_of(str(tmp_path / "b"), "d")).drop_id != first.drop_id


def test_one_image_is_a_drop(tmp_path):
    write_box_drop(tmp_path, [[((4, 4, 10, 8), RED)], []])
    drop = read_drop(place_of(str(tmp_path / "images" / "p1.png"), "d"))
    assert [Path(file.key).name for file in drop.files] == ["p1.png"]


def test_a_drop_without_files_is_refused(tmp_path):
    with pytest.raises(EmptyDropError):
        read_drop(place_of(str(tmp_path), "d"))


def night_in_a_process(request, settings):
    """Run a night in a fresh process, which needs stand-ins of its own."""
    with patch("tasks.segment_batch.load_models") as load:
        load.return_value = LoadedModels(ComponentSegmenter(), ColorLabeller())
        run_nightly(request, settings, InProcess())


def test_two_nights_at_once_leave_each_row_once(mill):
    for name, color in (("monday", BLUE), ("tuesday", GREEN), ("wednesday", RED)):
        boxes = [[((4 + n, 4, 10, 8), color), ((30, 20 + n, 12, 10), RED)] for n in range(3)]
        write_box_drop(mill.inbox / name, boxes)
    # The table format's writer does not survive a fork.
    context = multiprocessing.get_context("spawn")
    arguments = (mill.request, mill.settings)
    nights = [context.Process(target=night_in_a_process, args=arguments) for _ in range(2)]
    for process in nights:
        process.start()
    for process in nights:
        process.join(120)
    assert [process.exitcode for process in nights] == [0, 0]
    assert mill.ask("SELECT count(*), count(DISTINCT image_id) FROM images") == [(9, 9)]
    assert mill.ask("SELECT count(*), count(DISTINCT segment_id) FROM segments") == [(18, 18)]
    assert mill.ask("SELECT count(*) FROM annotations") == [(18,)]
    run_nightly(mill.request, mill.settings, InProcess())
    assert mill.ask("SELECT label, count FROM label_stats ORDER BY ALL") == [
        ("blue", 3),
        ("green", 3),
        ("red", 12),
    ]


def test_a_refused_setting_is_told_without_its_value(monkeypatch):
    monkeypatch.setenv("SEGMILL_NOTIFICATION_BLOCK", "a password")
    with pytest.raises(SettingsRefusedError, match="SEGMILL_NOTIFICATION_BLOCK: ") as caught:
        worker_settings()
    assert b"a password" not in pickle.dumps(caught.value)
