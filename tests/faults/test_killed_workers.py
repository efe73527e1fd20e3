"""Runs and workers that are killed: the next run does the rest, whatever the server believes.

That the server then marks a silent run as crashed, and tells somebody, is tested in
tests/deployments/test_automations.py.
"""

import json
import subprocess
import sys
import time

import pytest
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL, temporary_settings

from tests.faults.prefect_nights import (
    PAGES,
    deployed_nights,
    kill_all,
    request_for,
    write_pages,
)
from tests.faults.sweeping import finish, night_processes, rows_of, start, stop_server
from tests.prefect_server import ROOT, prefect_server

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def processes():
    yield night_processes()
    stop_server()


@pytest.fixture
def drop(tmp_path):
    return write_pages(tmp_path)


@pytest.fixture
def expected(processes, tmp_path, drop):
    finish(start(processes, str(tmp_path / "undisturbed"), drop))
    return rows_of(str(tmp_path / "undisturbed"))


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with (
        prefect_server(tmp_path_factory.mktemp("server")) as environment,
        temporary_settings({PREFECT_API_URL: environment["PREFECT_API_URL"]}),
    ):
        yield environment


def states():
    with get_client(sync_client=True) as client:
        return sorted(run.state.type.value for run in client.read_flow_runs())


def forget_runs():
    with get_client(sync_client=True) as client:
        for run in client.read_flow_runs():
            client.delete_flow_run(run.id)


def flow_process(environment, drop):
    """A process that runs the flow `nightly` for the server."""
    command = [sys.executable, "-m", "tests.faults.stand_in_deployment"]
    return subprocess.Popen([*command, json.dumps(request_for(drop))], cwd=ROOT, env=environment)


def killed_and_run_again(server, tmp_path, drop, broken=False):
    """Kill a run whose batch is stored, and not committed; returns the rows after the next run."""
    forget_runs()
    root, halted = str(tmp_path / "killed"), tmp_path / "halted"
    environment = server | {
        "SEGMILL_ROOT": root,
        "SEGMILL_BATCH_IMAGES": "2",
        "FAULTS_CUT_FILE": str(tmp_path / "cut"),
        "FAULTS_CUT_SECONDS": "0",
        "FAULTS_HALT_FILE": str(halted),
    }
    if broken:
        environment["FAULTS_FORGETFUL"] = "1"
    killed = flow_process(environment, drop)
    try:
        deadline = time.monotonic() + 120
        while not halted.exists():
            assert killed.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.1)
    finally:
        killed.kill()
        killed.wait()
    assert states() == ["RUNNING"]
    assert flow_process(environment, drop).wait(240) == 0
    # The server still believes in the first one.
    assert states() == ["COMPLETED", "RUNNING"]
    return rows_of(root)


def test_the_next_run_ends_what_a_killed_one_began(server, tmp_path, drop, expected):
    assert killed_and_run_again(server, tmp_path, drop) == expected


@pytest.mark.sweep
def test_it_is_caught_where_the_lake_forgets_what_it_committed(server, tmp_path, drop, expected):
    assert killed_and_run_again(server, tmp_path, drop, broken=True) != expected


@pytest.mark.sweep
def test_after_the_death_of_a_worker_the_next_night_waits_for_no_more_than_three_heartbeats(
    tmp_path, drop, expected
):
    """A deployment runs one night at a time, so the next one waits until the dead one is known."""
    with deployed_nights(tmp_path, drop) as nights:
        with nights.worker(**nights.halting()) as worker:
            dead = nights.order()
            nights.wait_for_halt()
            kill_all(worker)
        with nights.worker():
            night = nights.order()
            # Three heartbeats are 90 s here; the rest is for the server and a busy machine.
            nights.finish(night, 270)
        assert nights.state(dead).is_crashed()
        assert "No heartbeat for 90 s" in nights.state(dead).message
        assert rows_of(nights.root) == expected
        # What was stored when the night died was not cut again, but for what was under way.
        assert PAGES <= len(nights.processes()) <= PAGES + 4
