"""What a run shows on its page, asked of a real Prefect server."""

import time
from dataclasses import dataclass

import pytest
from prefect import flow, task
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId
from prefect.events.worker import EventsWorker
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.run_page import WatchedStep
from flows.running import OnPrefect
from tests.prefect_server import prefect_server

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", autouse=True)
def server(tmp_path_factory):
    with (
        prefect_server(tmp_path_factory.mktemp("server")) as environment,
        temporary_settings({PREFECT_API_URL: environment["PREFECT_API_URL"]}),
    ):
        yield
        EventsWorker.drain_all(timeout=10)


@dataclass(frozen=True)
class Cut:
    images: int
    seconds: float
    device: str = "Big GPU"


@task
def cut(number):
    if number == 13:
        raise ValueError("an unlucky batch")
    return Cut(number, number / 3)


@flow
def several(numbers, one_by_one):
    run = OnPrefect()
    with run.stage("segment"):
        run.each(cut, numbers, (lambda results, at_work: True) if one_by_one else None)


@flow
def long():
    run = OnPrefect()
    with run.stage("train"), run.watched() as progress:
        for step in range(1, 201):
            progress("train", step, 200, f"loss {1 / step:.3f}")
        progress("load", 3, None)


def lines_and_bars(state):
    """The lines of a run's log, in order, and how far its progress artifacts are."""
    run_id = state.state_details.flow_run_id
    deadline = time.monotonic() + 60
    wanted = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[run_id]))
    with get_client(sync_client=True) as client:
        # They are sent in the background; the last is that the run has ended.
        lines: list[str] = []
        while not any(line.startswith("Finished in state") for line in lines):
            assert time.monotonic() < deadline, lines
            time.sleep(0.5)
            lines = [
                log.message for log in client.read_logs(wanted) if log.name == "prefect.flow_runs"
            ]
        bars = [
            (artifact.description, artifact.data)
            for artifact in client.read_artifacts()
            if artifact.flow_run_id == run_id and artifact.type == "progress"
        ]
    return lines, bars


@pytest.mark.parametrize("one_by_one", [False, True])
def test_each_batch_that_ended_is_a_line(one_by_one):
    lines, bars = lines_and_bars(several([3, 6, 9], one_by_one, return_state=True))
    told = sorted(line for line in lines if line.startswith("segment: "))
    assert [line.split(" ended: ")[0] for line in told] == [f"segment: {n} of 3" for n in (1, 2, 3)]
    assert sorted(line.split(" ended: ")[1] for line in told) == [
        "images=3 seconds=1.00 device=Big_GPU",
        "images=6 seconds=2.00 device=Big_GPU",
        "images=9 seconds=3.00 device=Big_GPU",
    ]
    assert bars == [("segment: 3 batches", 100.0)]


def test_a_batch_that_failed_is_none():
    state = several([3, 13], False, return_state=True)
    assert state.is_failed()
    lines, bars = lines_and_bars(state)
    assert len([line for line in lines if " ended: " in line]) == 1
    assert bars == [("segment: 2 batches", 100.0)]


def test_a_long_step_has_a_bar_and_a_few_lines():
    lines, bars = lines_and_bars(long(return_state=True))
    told = [line for line in lines if line.startswith(("train: ", "load: "))]
    # A line a minute, and it took less: the first and the last.
    assert told == ["train: 1 of 200, loss 1.000", "train: 200 of 200, loss 0.005", "load: 3"]
    assert bars == [("train", 100.0)]


def test_outside_of_a_run_nothing_is_watched():
    with pytest.raises(RuntimeError):
        WatchedStep()
