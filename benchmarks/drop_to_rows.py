"""How long a drop takes to become rows where nobody does anything: `segmill up` on S3 with a queue.

    python -m benchmarks.drop_to_rows --json FILE

An S3 server sends notifications to an SQS queue, both in a process of their own. After `segmill up`
is ready, drops of generated pages are put with boto3, each when the runs of the last have ended. A
drop's time is from the end of its last upload until its segments can be read; the work in it is
what the demo models take for these pages when they are loaded; the rest is overhead: noticing,
events, queues of the server, starts of processes, imports, loading of models, commits.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import boto3

from benchmarks.record import write_record
from benchmarks.segment_flow import SIZE_PX
from examples.comics import generate_page
from examples.comics.drop import write_drop
from flows.requests import SegmentRequest
from storage.lake import Lake
from storage.session import connect
from storage.settings import Settings
from tasks.models import Compute, choose_models, compute_slots, load_models
from tasks.segment_batch import segment_images
from tests.prefect_server import ROOT, free_port
from tests.s3_server import s3_process

FIRST_SEED = 900_300_000
BUCKET, PREFIX = "drops", "data"
_READY_SECONDS = 300.0
_ROWS_SECONDS = 600.0
_IDLE_SECONDS = 15.0
_SEGMENTED = "SELECT count(*) FROM units WHERE stage = 'segment'"


def make_bucket(endpoint: str) -> str:
    """Make a bucket that tells a queue what is put into the inbox; returns the queue's URL."""
    s3, sqs = (boto3.client(name, endpoint_url=endpoint) for name in ("s3", "sqs"))
    s3.create_bucket(Bucket=BUCKET)
    queue: str = sqs.create_queue(QueueName="drops")["QueueUrl"]
    named = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])
    inbox = {"Key": {"FilterRules": [{"Name": "prefix", "Value": f"{PREFIX}/inbox/"}]}}
    told = {
        "QueueArn": named["Attributes"]["QueueArn"],
        "Events": ["s3:ObjectCreated:*"],
        "Filter": inbox,
    }
    s3.put_bucket_notification_configuration(
        Bucket=BUCKET, NotificationConfiguration={"QueueConfigurations": [told]}
    )
    return queue


@contextmanager
def stack(folder: Path, port: int) -> Iterator[Path]:
    """Run `segmill up` until it is no longer needed; yields its log."""
    log = folder / "up.log"
    command = [sys.executable, "-m", "app.cli", "up", "--port", str(port)]
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=output)
    try:
        deadline = time.monotonic() + _READY_SECONDS
        while "\nready" not in log.read_text():
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(log.read_text())
            time.sleep(0.5)
        yield log
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(120)


def put(endpoint: str, folder: Path, name: str) -> datetime:
    """Upload a drop, its marker last; returns when that was done."""
    s3 = boto3.client("s3", endpoint_url=endpoint)
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    for path in sorted(files, key=lambda path: path.name == "_DONE"):
        key = f"{PREFIX}/inbox/{name}/{path.relative_to(folder).as_posix()}"
        s3.put_object(Bucket=BUCKET, Key=key, Body=path.read_bytes())
    return datetime.now(UTC)


def wait_for_batches(root: str, count: int) -> datetime:
    """Wait until readers see so many batches; returns when they do."""
    lake, before = Lake.open(root), 0
    deadline = time.monotonic() + _ROWS_SECONDS
    while time.monotonic() < deadline:
        # Opening tables again and again would take the machine from what is measured.
        commits = sum(1 for _ in lake.objects.list("units/_delta_log/"))
        if commits != before:
            before = commits
            with connect(lake) as session:
                if session.execute(_SEGMENTED).fetchall()[0][0] >= count:
                    return datetime.now(UTC)
        time.sleep(0.5)
    raise TimeoutError(f"no segments in {_ROWS_SECONDS:.0f} s")


def wait_until_idle(port: int) -> None:
    """Wait until no run was under way for a while, so that none is counted for the next drop."""
    under_way = {"state": {"type": {"any_": ["PENDING", "RUNNING"]}}}
    busy_at = time.monotonic()
    while time.monotonic() - busy_at < _IDLE_SECONDS:
        if flow_runs(port, {"flow_runs": under_way}):
            busy_at = time.monotonic()
        time.sleep(1)


def flow_runs(port: int, what: dict[str, Any]) -> list[dict[str, Any]]:
    """Ask the server for the flow runs that fit a filter."""
    request = Request(
        f"http://127.0.0.1:{port}/api/flow_runs/filter",
        json.dumps(what).encode(),
        {"Content-Type": "application/json"},
    )
    with urlopen(request, timeout=30) as answer:
        found: list[dict[str, Any]] = json.load(answer)
    return found


def newest_run(port: int, flow: str) -> dict[str, Any]:
    """What the server says about the last run of a flow."""
    wanted = {"flows": {"name": {"any_": [flow]}}, "sort": "EXPECTED_START_TIME_DESC", "limit": 1}
    return flow_runs(port, wanted)[0]


def parts(port: int, put_at: datetime, rows_at: datetime) -> dict[str, float]:
    """The seconds between the steps of a drop's way."""
    ingest, segment = (newest_run(port, flow) for flow in ("ingest", "segment"))
    steps = [
        ("noticed", datetime.fromisoformat(ingest["created"])),
        ("ingest_started", datetime.fromisoformat(ingest["start_time"])),
        ("segment_ordered", datetime.fromisoformat(segment["created"])),
        ("segment_started", datetime.fromisoformat(segment["start_time"])),
        ("rows", rows_at),
    ]
    seconds, before = {}, put_at
    for name, at in steps:
        seconds[f"{name}_after_s"] = (at - before).total_seconds()
        before = at
    return seconds


def work_seconds(settings: Settings, pages: int) -> tuple[float, int]:
    """Seconds that loaded models take for a drop, as many pages at once as a run; masks a page."""
    request = SegmentRequest(dataset="default", model="demo")
    compute = Compute.of(settings)
    models = load_models(choose_models.fn(**request.models(settings)), compute)
    images = [generate_page(FIRST_SEED + number, SIZE_PX).image for number in range(pages)]
    segment_images(models, images[:1])
    started = time.perf_counter()
    with ThreadPoolExecutor(compute_slots(compute).count) as threads:
        found = list(threads.map(lambda rgb: segment_images(models, [rgb]), images))
    return time.perf_counter() - started, sum(len(masks) for (masks,) in found) // pages


def main() -> None:
    """Read the command line, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--drops", type=int, default=3)
    parser.add_argument("--pages", type=int, default=4, help="in each drop")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    totals: list[float] = []
    ways: list[dict[str, float]] = []
    with tempfile.TemporaryDirectory() as temporary, s3_process() as endpoint:
        folder, port, root = Path(temporary), free_port(), f"s3://{BUCKET}/{PREFIX}"
        os.environ |= {
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_ACCESS_KEY_ID": "benchmark",
            "AWS_SECRET_ACCESS_KEY": "benchmark",
            "AWS_DEFAULT_REGION": "us-east-1",
            "PREFECT_HOME": f"{temporary}/prefect",
            "SEGMILL_ROOT": root,
            "SEGMILL_MODEL": "demo",
            "OMP_NUM_THREADS": "1",
        }
        os.environ["SEGMILL_SQS_QUEUE_URL"] = make_bucket(endpoint)
        with stack(folder, port):
            for number in range(options.drops):
                drop, first = folder / str(number), FIRST_SEED + number * options.pages
                write_drop(drop, range(first, first + options.pages), size_px=SIZE_PX)
                wait_until_idle(port)
                put_at = put(endpoint, drop, f"drop-{number}")
                rows_at = wait_for_batches(root, number + 1)
                totals.append((rows_at - put_at).total_seconds())
                ways.append(parts(port, put_at, rows_at))
                print(f"drop {number}: {totals[-1]:.1f} s", ways[-1], flush=True)
        work, masks = work_seconds(Settings(), options.pages)
    total = statistics.median(totals)
    metrics: dict[str, float | None] = {
        "drop_to_rows_s": total,
        "work_s": work,
        "overhead_s": total - work,
        "slowest_drop_to_rows_s": max(totals),
    }
    metrics |= {name: statistics.median(way[name] for way in ways) for name in ways[0]}
    method = (
        f"{options.drops} drops of {options.pages} generated pages of {SIZE_PX} px and about "
        f"{masks} masks, put into a bucket whose notifications go to a queue, each when the last "
        "was done, with `segmill up` beside: from the last upload until the segments can be read; "
        "medians; work is the time of the loaded demo models for as many pages, as many at once as "
        "in a run"
    )
    write_record("drop_to_rows", metrics, method, ["prefect", "deltalake", "torch"], options.json)


if __name__ == "__main__":
    main()
