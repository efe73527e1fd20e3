"""Nights with a budget of device seconds: in this process, and as tasks of a Prefect server."""

import hashlib
import itertools
from datetime import timedelta

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prefect import flow, task
from prefect.events.worker import EventsWorker
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.engines import task_runner
from flows.nightly import run_nightly
from flows.requests import NightlyRequest, SegmentRequest
from flows.running import InProcess, OnPrefect
from flows.segment import run_segment, segment
from storage.lake import Lake
from storage.objects import open_store
from storage.session import connect
from storage.settings import Settings
from tasks.models import ComputeSlots, LoadedModels, choose_models
from tests.drops import RED, write_box_drop
from tests.fakes import ColorLabeller, PretendClock, TimedSegmenter
from tests.lakes import NIGHT, image_row, ingest
from tests.prefect_server import prefect_server

SECONDS_PER_IMAGE = 2.0


@pytest.fixture(scope="module")
def timed(tmp_path_factory):
    """A segmenter that takes two seconds for an image, by the clock that batches look at."""
    clock = PretendClock()
    segmenter = TimedSegmenter(clock, SECONDS_PER_IMAGE)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("tasks.segment_batch.time", clock)
        patched.setattr("tasks.segment_batch.compute_slots", lambda compute: ComputeSlots(1))
        patched.setattr(
            "tasks.segment_batch.load_models",
            lambda choice, compute: LoadedModels(segmenter, ColorLabeller()),
        )
        yield segmenter


@pytest.fixture(autouse=True)
def same_speed_again(timed):
    timed.seconds_per_image = SECONDS_PER_IMAGE


@pytest.fixture(scope="module")
def request_of(tmp_path_factory):
    """Requests with models of these tests: files that only have to be there."""
    folder = tmp_path_factory.mktemp("models")
    names = {"model": folder / "cutter.safetensors", "clip_model": folder / "namer.safetensors"}
    for path in names.values():
        path.write_bytes(path.name.encode())

    def make(kind=SegmentRequest, **values):
        models = {name: f"file:{path}" for name, path in names.items()}
        return kind(dataset="comics", **models, **values)

    return make


def fill(root, drops, first_drop=0):
    """Store drops of so many tiny images each, a day after the other; ids in the order due.

    A later drop has the lesser id, so that the order is not that of ids.
    """
    lake, store, due = Lake.open(root), open_store(root), []
    for number, images in enumerate(drops, start=first_drop):
        ids = []
        for image in range(images):
            pixels = np.full((8, 9, 3), 255, np.uint8)
            pixels[2:5, 2:6] = (number, image, 200)
            data = cv2.imencode(".png", pixels)[1].tobytes()
            image_id = hashlib.sha256(data).hexdigest()
            store.write(f"images/{image_id[:2]}/{image_id}.png", data)
            ids.append(image_id)
        drop = f"{99 - number:02}"
        rows = [
            image_row(
                image_id, drop_id=drop, width_px=9, height_px=8,
                uri=f"images/{image_id[:2]}/{image_id}.png",
                ingested_at=NIGHT + timedelta(days=number),
            )
            for image_id in ids
        ]  # fmt: skip
        ingest(lake, f"ingest {drop}", rows)
        due += sorted(ids)
    return due


def finished(root):
    """The images of each unit of segment, in the order in which they were finished."""
    with connect(Lake.open(root)) as session:
        rows = session.execute(
            "SELECT image_ids FROM units WHERE stage = 'segment' ORDER BY committed_at"
        ).fetchall()
    return [ids for (ids,) in rows]


def night(root, request, batch_images=2, run=None, **values):
    own = Settings(root=str(root), batch_images=batch_images, device="cpu", **values)
    choice = choose_models.fn(**request.models(own))
    return run_segment(
        request.dataset,
        choice,
        own,
        run or InProcess(),
        budget_seconds=request.budget_seconds(own),
    )


@given(
    drops=st.lists(st.integers(1, 4), min_size=1, max_size=3),
    late=st.integers(1, 3),
    batch_images=st.integers(1, 3),
    budget=st.floats(0.5, 14),
)
@settings(
    max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_nights_with_a_small_budget_finish_all_images_once_and_the_oldest_first(
    tmp_path_factory, request_of, drops, late, batch_images, budget
):
    root = str(tmp_path_factory.mktemp("root"))
    due = fill(root, drops)
    request = request_of(gpu_seconds_budget=budget)
    for number in itertools.count():
        before = len(finished(root))
        summary = night(root, request, batch_images)
        batches = finished(root)[before:]
        images = sum(map(len, batches))
        assert (summary.batches, summary.images) == (len(batches), images)
        assert summary.device.device_seconds == images * SECONDS_PER_IMAGE
        assert summary.device.images_deferred == len(due) - sum(map(len, finished(root)))
        if number == 0:
            # Nothing was measured: the last batch began before the budget was spent.
            assert images * SECONDS_PER_IMAGE - len(batches[-1]) * SECONDS_PER_IMAGE < budget
            due += fill(root, [late], first_drop=len(drops))
        elif batches:
            assert images * SECONDS_PER_IMAGE <= budget or len(batches) == 1
        else:
            break
    done = [image_id for batch in finished(root) for image_id in batch]
    assert done == due


def test_the_same_tables_and_budget_give_the_same_plan(tmp_path, request_of, timed):
    """Whatever tonight's speed is: what counts is what was measured before."""
    kept = []
    for name, seconds_per_image in (("fast", 0.1), ("slow", 2.9)):
        root = str(tmp_path / name)
        fill(root, [2])
        night(root, request_of())
        due = fill(root, [8], first_drop=1)
        timed.seconds_per_image = seconds_per_image
        summary = night(root, request_of(gpu_seconds_budget=9.0))
        timed.seconds_per_image = SECONDS_PER_IMAGE
        kept.append(finished(root)[1:])
        assert summary.device.images_deferred == 4
        assert summary.device.deferred_because == (
            "the budget of 9 s is for 4 images at 2 s each, as measured on cpu"
        )
    assert kept[0] == kept[1] == [due[:2], due[2:4]]


def test_a_night_whose_plan_was_wrong_ends_when_the_budget_is_overspent(
    tmp_path, request_of, timed
):
    root = str(tmp_path)
    fill(root, [2, 8])
    night(root, request_of(gpu_seconds_budget=1.0))
    timed.seconds_per_image = 10.0
    summary = night(root, request_of(gpu_seconds_budget=16.0))
    # All eight were planned; 20 s were spent after one batch, and 24 s would be too many.
    assert (summary.batches, summary.device.device_seconds) == (2, 40.0)
    assert summary.device.images_deferred == 4
    assert "overspent" in summary.device.deferred_because


def test_a_budget_of_the_request_counts_before_that_of_the_settings(tmp_path, request_of):
    root = str(tmp_path)
    fill(root, [2, 8])
    night(root, request_of())
    fill(root, [8], first_drop=2)
    summary = night(root, request_of(gpu_seconds_budget=8.0), gpu_seconds_budget=4.0)
    assert (summary.images, summary.device.budget_seconds) == (4, 8.0)
    summary = night(root, request_of(), gpu_seconds_budget=4.0)
    assert (summary.images, summary.device.budget_seconds) == (2, 4.0)
    summary = night(root, request_of())
    assert (summary.images, summary.device.images_deferred) == (2, 0)
    assert summary.device.budget_seconds is None


def test_what_other_models_and_devices_took_is_no_measure(tmp_path, request_of, timed):
    root = str(tmp_path)
    fill(root, [2])
    timed.device_name = "NVIDIA H100"
    try:
        night(root, request_of())
    finally:
        del timed.device_name
    night(root, request_of(preset="sam2"))
    fill(root, [6], first_drop=1)
    summary = night(root, request_of(gpu_seconds_budget=5.0))
    assert (summary.images, summary.device.seconds) == (4, {"cpu": 8.0})
    assert "no batch was measured before" in summary.device.deferred_because


def test_seconds_cost_what_the_settings_say(tmp_path, request_of):
    fill(str(tmp_path), [3])
    summary = night(tmp_path, request_of(), gpu_cost_per_hour=1800.0, currency="EUR")
    assert summary.device.cost == pytest.approx(3.0)
    assert summary.device.told() == [("device", "6 s on cpu, 3.00 EUR")]
    told = summary.model_dump(mode="json")["device"]
    assert (told["seconds"], told["images_deferred"]) == ({"cpu": 6.0}, 0)
    assert night(tmp_path, request_of()).device.told() == []


def test_a_whole_night_defers_and_its_page_says_so(tmp_path, request_of):
    root = tmp_path / "root"
    write_box_drop(root / "inbox" / "monday", [[((4, 4, 10, 8 + n), RED)] for n in range(6)])
    own = Settings(
        root=str(root), batch_images=2, device="cpu", gpu_seconds_budget=5.0, gpu_cost_per_hour=900
    )
    request = request_of(NightlyRequest)
    summary, data = run_nightly(request, own, InProcess())
    assert (summary.segment.images, summary.segment.device.images_deferred) == (4, 2)
    assert data.device == summary.segment.device
    (page,) = (root / "reports").glob("*.html")
    assert "8 s on cpu, 2.00 USD" in page.read_text()
    assert "2 images: the budget of 5 s is spent" in page.read_text()
    assert run_nightly(request, own, InProcess())[0].segment.images == 2
    assert run_nightly(request, own, InProcess())[0].segment.device.images_deferred == 0


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("server")
    with (
        prefect_server(folder) as environment,
        temporary_settings({PREFECT_API_URL: environment["PREFECT_API_URL"]}),
    ):
        yield
        EventsWorker.drain_all(timeout=10)


@pytest.mark.slow
def test_threads_keep_the_plan(tmp_path, request_of, timed, server, monkeypatch):
    root = str(tmp_path)
    monkeypatch.setenv("SEGMILL_ROOT", root)
    monkeypatch.setenv("SEGMILL_BATCH_IMAGES", "2")
    monkeypatch.setenv("SEGMILL_DEVICE", "cpu")
    monkeypatch.setenv("SEGMILL_GPU_SECONDS_BUDGET", "7")
    due = fill(root, [14])
    # Nothing is measured yet: one goes first, and a third could not end within the budget.
    first = segment(request_of())
    assert (first.images, first.device.images_deferred) == (4, 10)
    assert sorted(finished(root)) == sorted([due[:2], due[2:4]])
    timed.seconds_per_image = 2.8
    second = segment(request_of(gpu_seconds_budget=12.5))
    assert (second.images, second.device.images_deferred) == (6, 4)
    assert {i for batch in finished(root) for i in batch} == set(due[:10])
    timed.seconds_per_image = SECONDS_PER_IMAGE
    assert segment(request_of(gpu_seconds_budget=0.1)).images == 2
    assert segment(request_of(gpu_seconds_budget=1e6)).images == 2
    assert segment(request_of()).batches == 0


@task
def square(number):
    if number == 2:
        raise ValueError("two is no number today")
    return number * number


@flow(task_runner=task_runner())
def squares(numbers, may_begin):
    return OnPrefect().each(square, numbers, may_begin)


@pytest.mark.slow
def test_results_come_in_order_and_what_is_left_was_never_begun(server):
    asked = []

    def may_begin(results, at_work):
        asked.append((sorted(results), sorted(at_work)))
        return len(results) + len(at_work) < 3

    assert squares([5, 4, 3, 1, 0], may_begin) == [25, 16, 9]
    assert all(len(at_work) < 2 for _, at_work in asked), "two tasks at once are all there are"
    assert squares([], may_begin) == []


@pytest.mark.slow
def test_a_task_that_fails_ends_the_run_after_the_others(server):
    begun = []

    def may_begin(results, at_work):
        begun.append(len(results))
        return True

    with pytest.raises(ValueError, match="two is no number"):
        squares([1, 2, 3, 4], may_begin)
    assert max(begun) >= 1 and len(begun) == 4


def test_in_this_process_what_is_left_was_never_begun():
    numbers = iter([5, 4, 3])
    assert InProcess().each(square, numbers, lambda results, at_work: not results) == [25]
    assert list(numbers) == [3], "it was asked for one more, and no further"
