"""Answers of the object store that are errors, lost, cut short or late: rows are right or none."""

import itertools
import time

import boto3
import pytest

from tests.faults.faulty_s3 import FAULTS, FaultyS3
from tests.faults.sweeping import (
    finish,
    night_processes,
    rows_of,
    start,
    stop_server,
    write_drop,
)

STRIDE = 19
_numbers = itertools.count()
pytestmark = [pytest.mark.slow, pytest.mark.sweep, pytest.mark.timeout(1500)]


@pytest.fixture
def bucket():
    """Of this test alone: the servers of a process keep what they have in one place."""
    return f"faults-{next(_numbers)}"


@pytest.fixture
def s3(monkeypatch, bucket):
    with FaultyS3().running() as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        boto3.client("s3", endpoint_url=server.url).create_bucket(Bucket=bucket)
        yield server


@pytest.fixture
def processes(s3):
    """Depends on the server, because they inherit its address."""
    stop_server()
    yield night_processes()
    stop_server()


@pytest.fixture
def expected(s3, processes, drop, bucket):
    finish(start(processes, f"s3://{bucket}/undisturbed", drop))
    return rows_of(f"s3://{bucket}/undisturbed")


@pytest.fixture
def drop(tmp_path):
    return write_drop(tmp_path)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_night_gets_over_single_faults(s3, processes, drop, expected, bucket, fault):
    root = f"s3://{bucket}/night"
    s3.disturb(lambda number: fault if number % STRIDE == STRIDE // 2 else None)
    night = start(processes, root, drop)
    night.join(240)
    assert s3.faults > 3
    s3.disturb(lambda _: None)
    assert night.exitcode == 0
    assert rows_of(root) == expected


def test_a_tenth_of_all_requests_may_fail(s3, processes, drop, expected, bucket):
    root = f"s3://{bucket}/night"
    s3.at_random(0.1, seed=1)
    night = start(processes, root, drop)
    night.join(240)
    assert s3.faults > 10
    s3.disturb(lambda _: None)
    assert night.exitcode == 0
    assert rows_of(root) == expected


def test_where_half_of_all_requests_fail_a_night_ends_and_the_next_is_right(
    s3, processes, drop, expected, bucket
):
    root, began = f"s3://{bucket}/night", time.monotonic()
    s3.at_random(0.5, seed=2)
    night = start(processes, root, drop)
    night.join(240)
    assert night.exitcode in (0, 1), f"still running after {time.monotonic() - began:.0f} s"
    s3.disturb(lambda _: None)
    finish(start(processes, root, drop))
    assert rows_of(root) == expected


def test_the_faults_catch_a_lake_that_forgets_what_it_committed(
    s3, processes, drop, expected, bucket
):
    """Answers that were lost make it commit again."""
    root = f"s3://{bucket}/night"
    s3.at_random(0.5, seed=2)
    night = start(processes, root, drop, broken=True)
    night.join(240)
    s3.disturb(lambda _: None)
    finish(start(processes, root, drop, broken=True))
    assert rows_of(root) != expected
