"""SIGKILL at the requests of a night on S3: nothing lost, nothing twice, after one more run.

The sweep counts the requests of an undisturbed night and kills another one at each of them, before
it is carried out and after. `SEGMILL_SWEEP_STEP` is the distance of the points that are tried: 1
tries all.
"""

import signal

import boto3
import pytest

from tests.faults.counting_s3 import CountingS3
from tests.faults.sweeping import (
    STEP,
    finish,
    night_processes,
    rows_of,
    start,
    stop_server,
    write_drop,
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]


@pytest.fixture
def s3(monkeypatch):
    with CountingS3().running() as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        boto3.client("s3", endpoint_url=server.url).create_bucket(Bucket="sweep")
        yield server


@pytest.fixture
def drop(tmp_path):
    return write_drop(tmp_path)


@pytest.fixture
def processes(s3):
    """Depends on the server, because they inherit its address."""
    yield night_processes()
    stop_server()


def requests_of_a_night(s3, processes, drop, broken):
    s3.watch()
    finish(start(processes, "s3://sweep/undisturbed", drop, broken))
    requests = list(s3.requests)
    return requests, rows_of("s3://sweep/undisturbed")


def violations(s3, processes, drop, step, broken=False):
    """Kill a night at every so many requests; returns the points after which rows were wrong."""
    requests, expected = requests_of_a_night(s3, processes, drop, broken)
    assert len(requests) > 100
    wrong, deaths = [], 0
    for number, at in enumerate(range(0, len(requests), step)):
        root = f"s3://sweep/killed-{at}"
        answered = number % 2 == 1
        told = processes.Event()
        victim = start(processes, root, drop, broken, told)
        s3.watch(victim.pid, at, answered)
        told.set()
        victim.join(120)
        deaths += victim.exitcode == -signal.SIGKILL
        s3.watch()
        finish(start(processes, root, drop, broken))
        if rows_of(root) != expected:
            wrong.append((at, answered, requests[at]))
    # Threads make the number of requests differ a little.
    assert deaths > 0.8 * len(range(0, len(requests), step))
    return wrong


def test_nothing_is_lost_or_doubled_wherever_a_night_is_killed(s3, processes, drop):
    assert violations(s3, processes, drop, STEP) == []


def test_the_sweep_catches_a_lake_that_forgets_what_it_committed(s3, processes, drop):
    assert violations(s3, processes, drop, 2 * STEP, broken=True)
