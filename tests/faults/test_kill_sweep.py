"""SIGKILL at the requests of a night on S3: nothing lost, nothing twice, after one more run.

The sweep counts the requests of an undisturbed night that change the bucket and kills another one
at each of them, before it is carried out and after. To die at a request that only reads is to die
after the write before it. With `SEGMILL_SWEEP_STEP` at 1 all points are tried, with 120 some.
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


def writes_of_a_night(s3, processes, drop, broken):
    # The server is this process, and keeps what other tests have put there.
    root = f"s3://sweep/undisturbed-{broken}"
    s3.watch()
    finish(start(processes, root, drop, broken))
    return list(s3.writes), rows_of(root)


def violations(s3, processes, drop, step, broken=False):
    """Kill a night at every so many points; returns those after which rows were wrong."""
    writes, expected = writes_of_a_night(s3, processes, drop, broken)
    # Of every part of it: tables, masks, images.
    assert {path.split("/")[3] for _, path in writes} >= {"lake", "masks", "images"}
    points = [(at, answered) for at in range(len(writes)) for answered in (False, True)][::step]
    wrong, deaths = [], 0
    for at, answered in points:
        root = f"s3://sweep/killed-{broken}-{at}-{answered}"
        told = processes.Event()
        victim = start(processes, root, drop, broken, told)
        s3.watch(victim.pid, at, answered)
        told.set()
        victim.join(120)
        deaths += victim.exitcode == -signal.SIGKILL
        s3.watch()
        finish(start(processes, root, drop, broken))
        if rows_of(root) != expected:
            wrong.append((at, answered, writes[at]))
    # Threads make the number of writes differ a little.
    assert deaths > 0.8 * len(points)
    return wrong


def test_nothing_is_lost_or_doubled_wherever_a_night_is_killed(s3, processes, drop):
    assert violations(s3, processes, drop, max(1, STEP // 4)) == []


@pytest.mark.sweep
def test_the_sweep_catches_a_lake_that_forgets_what_it_committed(s3, processes, drop):
    assert violations(s3, processes, drop, max(1, STEP // 3), broken=True)
