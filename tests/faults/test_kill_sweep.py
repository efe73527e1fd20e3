"""SIGKILL at the requests of a night on S3: nothing lost, nothing twice, after one more run.

The sweep counts the requests of an undisturbed night and kills another one at each of them, before
it is carried out and after. `SEGMILL_SWEEP_STEP` is the distance of the points that are tried: 1
tries all.
"""

import multiprocessing
import os
import signal

import boto3
import pytest

from storage.lake import Lake
from storage.session import connect
from tests.drops import BLUE, GREEN, RED, write_box_drop
from tests.faults.counting_s3 import CountingS3
from tests.faults.night_process import night

STEP = int(os.environ.get("SEGMILL_SWEEP_STEP", "120"))
PICTURES = [
    [((4, 4, 10, 8), RED), ((30, 20, 12, 10), BLUE)],
    [],
    [((10, 10, 6, 6), GREEN)],
]
# Ids and values only: times and runs differ from night to night.
ROWS = {
    "images": "SELECT image_id, dataset, file_name, split FROM images",
    "annotations": "SELECT image_id, annotation_id, rle FROM annotations",
    "segments": "SELECT image_id, segment_id, label, rle FROM segments",
    "image_labels": "SELECT image_id, label, count, union_area_px FROM image_labels",
    "label_stats": "SELECT label, count, images, union_area_px, unknown_share FROM label_stats",
    "quarantine": "SELECT file, rule FROM quarantine",
    "drops": "SELECT drop_id FROM drops",
}

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
    write_box_drop(tmp_path / "drop", PICTURES)
    (tmp_path / "model.safetensors").write_bytes(b"model")
    return str(tmp_path / "drop"), f"file:{tmp_path / 'model.safetensors'}"


@pytest.fixture
def processes(s3):
    """Starts processes quickly: what a night imports is loaded once, in the server they fork from.

    Depends on the server, because they inherit its address.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.faults.night_process"])
    yield context
    multiprocessing.forkserver._forkserver._stop()


def start(processes, root, drop, broken=False, told=None):
    process = processes.Process(target=night, args=(root, *drop, broken, told))
    process.start()
    return process


def finish(process):
    process.join(120)
    assert process.exitcode == 0


def rows_of(root):
    with connect(Lake.open(root)) as session:
        return {name: sorted(session.execute(sql).fetchall()) for name, sql in ROWS.items()}


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
