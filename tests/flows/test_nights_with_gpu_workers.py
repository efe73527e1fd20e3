"""Nights whose segments are cut by the worker of another pool, on a real Prefect server."""

import time
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from pathlib import Path
from unittest.mock import patch

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.runtime import flow_run
from prefect.states import Cancelling

from app.stack.local import SERVER_SETTINGS
from flows.child_run import start_child
from flows.ingest import run_ingest
from flows.nightly import nightly, run_nightly
from flows.requests import IngestRequest, NightlyRequest, SegmentRequest
from flows.running import InProcess
from flows.segment import segment
from flows.summaries import NotSegmentedError
from storage.lake import Lake
from storage.session import connect
from storage.settings import Settings
from tasks.models import LoadedModels, OtherModelsError
from tests.drops import GRAY, write_box_drop
from tests.fakes import ColorLabeller, ComponentSegmenter
from tests.faults.prefect_nights import PAGES, deployed_nights, kill_all, request_for, write_pages
from tests.faults.sweeping import rows_of

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

SEGMENT = "segment/on-ingest"
OTHER_PAGES = 80


@pytest.fixture(scope="module")
def drop(tmp_path_factory):
    return write_pages(tmp_path_factory.mktemp("pages"))


@pytest.fixture(scope="module")
def nights(tmp_path_factory, drop):
    # A run that has to wait for its turn is tried again so soon; 30 s by default.
    settings = SERVER_SETTINGS | {"PREFECT_SERVER_DEPLOYMENTS_CONCURRENCY_SLOT_WAIT_SECONDS": "2"}
    names = ("nightly/nightly", SEGMENT)
    with deployed_nights(tmp_path_factory.mktemp("nights"), drop, settings, names) as nights:
        nights.environment["FAULTS_CUT_SECONDS"] = "0"
        yield nights


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A root, which is that of this process too."""
    root = str(tmp_path / "root")
    monkeypatch.setenv("SEGMILL_ROOT", root)
    monkeypatch.setenv("SEGMILL_BATCH_IMAGES", "2")
    return root


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, drop):
    """Root and summary of a night in one process."""
    root = str(tmp_path_factory.mktemp("undisturbed"))
    with patch("tasks.segment_batch.load_models") as load:
        load.return_value = LoadedModels(ComponentSegmenter(), ColorLabeller())
        settings = Settings(root=root, batch_images=2)
        summary, _ = run_nightly(NightlyRequest(**request_for(drop)), settings, InProcess())
    return root, summary


def request_of(drop, **changes):
    return NightlyRequest(**request_for(drop) | {"segment_deployment": SEGMENT} | changes)


def ask(root, sql):
    with connect(Lake.open(root)) as session:
        return session.execute(sql).fetchall()


def stages(root):
    return {stage for (stage,) in ask(root, "SELECT DISTINCT stage FROM units")}


def children():
    """Runs of the deployment that others have started, the newest first."""
    with get_client(sync_client=True) as client:
        runs = client.read_flow_runs()
    runs = [run for run in runs if run.deployment_id and run.parent_task_run_id]
    return sorted(runs, key=lambda run: run.created, reverse=True)


def test_without_a_gpu_worker_the_night_does_the_rest_and_says_what_to_start(nights, root, drop):
    with pytest.raises(NotSegmentedError) as failure:
        nightly(request_of(drop, segment_silence_seconds=4, report=True))
    told = str(failure.value)
    assert "expected a worker of pool gpu to begin run" in told
    assert "found none online, so it is cancelled" in told
    assert told.endswith(f"prefect worker start --pool gpu ({PAGES} of {PAGES} images wait)")
    child = children()[0]
    assert str(child.id) in told
    assert child.state.is_cancelled()
    assert "ingest" in stages(root) and "segment" not in stages(root)
    (page,) = Path(root, "reports").glob("boxes-*.html")
    assert "found none online" in page.read_text()


def test_without_the_deployment_it_says_how_to_deploy(nights, root, drop):
    with pytest.raises(NotSegmentedError, match="prefect --no-prompt deploy --all") as failure:
        nightly(request_of(drop, segment_deployment="segment/absent"))
    assert "expected a deployment segment/absent" in str(failure.value)
    assert "ingest" in stages(root)


def test_a_night_does_not_wait_for_ever_for_a_run_that_does_not_end(nights, root, drop):
    told = "to end within 3 s, found it (Scheduled|Late), and left it to itself: prefect flow-run"
    with pytest.raises(NotSegmentedError, match=told):
        nightly(request_of(drop, segment_silence_seconds=600, segment_most_seconds=3))
    child = children()[0]
    assert not child.state.is_final()
    with get_client(sync_client=True) as client:
        client.delete_flow_run(child.id)
    assert "ingest" in stages(root) and "segment" not in stages(root)


def test_a_run_that_somebody_deletes_is_not_waited_for(nights, root, drop):
    known = {run.id for run in children()}

    def delete():
        nights.wait(lambda: children() and children()[0].id not in known, 120, "child")
        with get_client(sync_client=True) as client:
            client.delete_flow_run(children()[0].id)

    with ThreadPoolExecutor() as beside, pytest.raises(NotSegmentedError, match="found it deleted"):
        deleted = beside.submit(copy_context().run, delete)  # which knows the server
        nightly(request_of(drop, segment_silence_seconds=600))
    deleted.result()
    assert "ingest" in stages(root) and "segment" not in stages(root)


def test_with_nothing_to_segment_no_run_is_started(nights, root, drop):
    before = len(children())
    with patch("tasks.segment_batch.load_models") as load:
        load.return_value = LoadedModels(ComponentSegmenter(), ColorLabeller())
        nightly(request_of(drop, segment_deployment=None))
    summary = nightly(request_of(drop))
    assert (summary.segment.batches, summary.segment.child_run_id) == (0, None)
    assert len(children()) == before


@flow(retries=1)
def starts_twice(drop, seen):
    seen.append(start_child(SEGMENT, {"request": {"dataset": "boxes"}}, flow_run.id))
    if len(seen) == 1:
        raise ValueError("a parent that is restarted")


def test_a_parent_that_is_restarted_finds_its_child_and_starts_no_second_one(nights, drop):
    before, seen = len(children()), []
    starts_twice(drop, seen)
    assert seen[0].id == seen[1].id
    assert seen[0].parent_task_run_id is not None
    assert "segmill" in seen[0].tags
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(seen[0].id, Cancelling())
    assert len(children()) == before + 1


def test_the_run_refuses_models_that_are_others_here(nights, root, drop):
    model = drop[1]
    ids = {"model_id": "sam-1", "params_id": "p", "label_set_id": "l"}
    request = SegmentRequest(dataset="boxes", model=model, clip_model=model, expected=ids)
    with pytest.raises(OtherModelsError, match="model_id: expected sam-1, found pages"):
        segment(request)


def test_the_worker_of_the_gpu_pool_cuts_what_a_night_of_the_cpu_pool_took_in(
    nights, root, drop, undisturbed, tmp_path
):
    own = {"SEGMILL_ROOT": root}
    cuts = {pool: tmp_path / f"cut-{pool}" for pool in ("cpu", "gpu")}
    with (
        nights.worker("cpu", FAULTS_CUT_FILE=str(cuts["cpu"]), **own),
        nights.worker("gpu", FAULTS_CUT_FILE=str(cuts["gpu"]), **own),
    ):
        night = nights.order(segment_deployment=SEGMENT)
        nights.finish(night)
    assert rows_of(root) == rows_of(undisturbed[0])
    assert len(cuts["gpu"].read_text().split()) == PAGES
    assert not cuts["cpu"].exists()
    child = children()[0]
    assert (child.work_pool_name, child.state.is_completed()) == ("gpu", True)
    assert ask(root, "SELECT DISTINCT run_id FROM units WHERE stage = 'segment'") == [
        (str(child.id),)
    ]
    assert ask(root, "SELECT DISTINCT run_id FROM units WHERE stage = 'ingest'") == [(str(night),)]
    with get_client(sync_client=True) as client:
        stand_in = client.read_task_run(child.parent_task_run_id)
    assert stand_in.flow_run_id == night
    assert stand_in.state.is_completed()


@pytest.fixture
def others(tmp_path, root, drop):
    """A request to segment images of another dataset of the root."""
    boxes = [[((2 + n % 40, 4 + 12 * (n // 40), 9, 7), GRAY)] for n in range(OTHER_PAGES)]
    write_box_drop(tmp_path / "others", boxes)
    ingest = IngestRequest(dataset="others", source=str(tmp_path / "others"))
    run_ingest(ingest, Settings(root=root), InProcess())
    return {"dataset": "others", "model": drop[1], "clip_model": drop[1]}


# Where the worker takes one run at a time, the second is not even asked for and becomes late.
@pytest.mark.parametrize("options", [(), pytest.param(("--limit", "1"), marks=pytest.mark.sweep)])
def test_a_night_that_waits_for_its_turn_is_not_cut_short_and_tells_what_one_process_tells(
    nights, root, drop, others, undisturbed, options
):
    silence = 20.0  # longer than a process takes to start, shorter than the other run works
    with nights.worker("gpu", *options, SEGMILL_ROOT=root, FAULTS_CUT_SECONDS="1"):
        with get_client(sync_client=True) as client:
            deployment = client.read_deployment_by_name(SEGMENT)
            parameters = {"request": others}
            other = client.create_flow_run_from_deployment(deployment.id, parameters=parameters)
        nights.wait(lambda: nights.state(other.id).is_running(), 120, "run of others")
        summary = nightly(request_of(drop, segment_silence_seconds=silence))
    child = children()[0]
    assert str(child.id) == summary.segment.child_run_id
    assert (child.start_time - child.created).total_seconds() > 1.5 * silence
    assert nights.state(other.id).is_completed()
    alone = undisturbed[1].segment
    unknown = {"points_per_batch", "images_per_batch", "child_run_id", "device"}
    assert summary.segment.model_dump(exclude=unknown) == alone.model_dump(exclude=unknown)
    assert summary.segment.device.seconds.keys() == alone.device.seconds.keys()
    assert summary.segment.device.images_deferred == 0
    cut = "SELECT segment_id, label FROM segments JOIN images USING (image_id) WHERE dataset = "
    assert sorted(ask(root, f"{cut} 'boxes'")) == sorted(ask(undisturbed[0], f"{cut} 'boxes'"))
    assert len(ask(root, f"{cut} 'others'")) == OTHER_PAGES


@pytest.mark.parametrize(
    ("folder", "expected"),
    [
        ("relative", "found it Failed: .*SEGMILL_ROOT of a worker must be an absolute path"),
        ("{}/elsewhere", "found none: set SEGMILL_ROOT of its worker to the same place"),
    ],
)
def test_a_run_that_did_not_do_its_work_is_named_and_the_rest_is_done(
    nights, root, drop, tmp_path, folder, expected
):
    other = folder.format(tmp_path)
    with (
        nights.worker("gpu", SEGMILL_ROOT=other),
        pytest.raises(NotSegmentedError, match=expected) as failure,
    ):
        nightly(request_of(drop, segment_silence_seconds=120))
    assert str(children()[0].id) in str(failure.value)
    assert "ingest" in stages(root)


@pytest.mark.sweep
def test_a_night_goes_on_waiting_when_the_server_was_away(
    nights, root, drop, undisturbed, tmp_path
):
    own = {"SEGMILL_ROOT": root, "FAULTS_CUT_SECONDS": "2"}
    cut = tmp_path / "cut"
    with (
        nights.worker("cpu", **own),
        nights.worker("gpu", FAULTS_CUT_FILE=str(cut), **own),
    ):
        night = nights.order(segment_deployment=SEGMENT)
        nights.wait(cut.exists, 240, "run of the pool gpu")
        nights.server.kill()
        time.sleep(5)
        nights.server.start()
        nights.finish(night)
    assert rows_of(root) == rows_of(undisturbed[0])
    assert len(cut.read_text().split()) == PAGES


# The last one, for the killed run holds the place of its deployment for a while.
@pytest.mark.sweep
def test_when_a_night_is_killed_its_child_goes_on_and_the_next_night_finds_all_done(
    nights, root, drop, undisturbed, tmp_path
):
    own = {"SEGMILL_ROOT": root, "FAULTS_CUT_SECONDS": "1"}
    cut = tmp_path / "cut"
    with nights.worker("gpu", FAULTS_CUT_FILE=str(cut), **own):
        with nights.worker("cpu", **own) as cpu:
            nights.order(segment_deployment=SEGMENT)
            nights.wait(cut.exists, 240, "run of the pool gpu")
            kill_all(cpu)
        child = children()[0]
        assert child.state.is_running()
        nights.finish(child.id)
        summary = nightly(request_of(drop))
    assert (summary.segment.batches, summary.segment.child_run_id) == (0, None)
    assert rows_of(root) == rows_of(undisturbed[0])
    assert len(cut.read_text().split()) == PAGES
