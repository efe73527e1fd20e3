"""How long it takes until all work is known when hundreds of drops wait, and to take them in.

    python -m benchmarks.many_drops --json FILE

Known means: the drops are found, sealed (every byte hashed, the lists of files recorded), and the
images that wait for the models are listed. On a local folder and on a real S3 server, in a process
of its own; how fast that server answers plain requests is measured as well.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

import boto3
import cv2
import numpy as np

from app.dry_runs import plan_drops
from benchmarks.record import write_record
from flows.ingest import run_ingest
from flows.requests import IngestRequest, SegmentRequest
from flows.running import InProcess
from storage.objects import ObjectStore, open_store
from storage.settings import Settings
from tasks.drop_units import Limits
from tasks.drops import find_drops
from tasks.image_inspection import inspect_images
from tasks.models import choose_models
from tasks.pending_images import list_pending_images
from tasks.seal_drops import seal_drops
from tests.s3_server import s3_process

DATASET = "pages"
WIDTH_PX, HEIGHT_PX = 64, 48
BUCKET = "many-drops"
CONNECTIONS = 4
SETTLED_SECONDS = 61

T = TypeVar("T")


def made_drops(drops: int, images: int) -> Iterator[tuple[str, bytes]]:
    """Keys and bytes of the files of drops: small pictures with a box each, and a COCO document.

    Ids are those of one dataset that came in parts: no two drops use the same.
    """
    rng = np.random.default_rng(7)
    for number in range(drops):
        folder = f"inbox/drop-{number:05d}"
        entries: dict[str, list[dict[str, object]]] = {"images": [], "annotations": []}
        for image_id in range(number * images + 1, (number + 1) * images + 1):
            name = f"{image_id:06d}.png"
            pixels = rng.integers(0, 256, (HEIGHT_PX, WIDTH_PX, 3), np.uint8)
            yield f"{folder}/{name}", cv2.imencode(".png", pixels)[1].tobytes()
            x, y = int(rng.integers(30)), int(rng.integers(20))
            w, h = int(rng.integers(5, 30)), int(rng.integers(5, 25))
            entries["images"].append(
                {"id": image_id, "file_name": name, "width": WIDTH_PX, "height": HEIGHT_PX}
            )
            entries["annotations"].append(
                {
                    "id": image_id,
                    "image_id": image_id,
                    "category_id": 1,
                    "bbox": [x, y, w, h],
                    "area": w * h,
                    "iscrowd": 0,
                    "segmentation": [[x, y, x + w, y, x + w, y + h, x, y + h]],
                }
            )
        document = entries | {"categories": [{"id": 1, "name": "box"}]}
        yield f"{folder}/annotations.json", json.dumps(document).encode()
        yield f"{folder}/_DONE", b""


def timed(step: Callable[[], T]) -> tuple[float, float, T]:
    """Seconds by the clock, seconds of this process's processor, and the result."""
    began, worked = time.perf_counter(), time.process_time()
    result = step()
    return time.perf_counter() - began, time.process_time() - worked, result


def measure(settings: Settings, drops: int, images: int, ingest: bool) -> dict[str, float | None]:
    """Write drops into the inbox, and time what a night does with them before it segments."""
    root, store = settings.root, open_store(settings.root)
    store.write_many(made_drops(drops, images))
    # What changed within a minute is listed twice; drops that wait have waited for longer.
    time.sleep(SETTLED_SECONDS)
    choice = choose_models.fn(**SegmentRequest(dataset=DATASET, model="demo").models(settings))
    limits = Limits.of(settings)
    find_s, find_cpu, found = timed(lambda: find_drops.fn(root, DATASET, 60, limits))
    seal_s, seal_cpu, sealed = timed(lambda: seal_drops.fn(root, found))
    assert len(sealed.drops) == drops and not sealed.failed

    def list_pending() -> int:
        batches = list_pending_images.fn(root, DATASET, choice, settings.batch_images)
        return sum(map(len, batches))

    pending_s, pending_cpu, _ = timed(list_pending)
    metrics: dict[str, float | None] = {
        "planned_s": find_s + seal_s + pending_s,
        "planned_cpu_s": find_cpu + seal_cpu + pending_cpu,
        "find_s": find_s,
        "seal_s": seal_s,
        "pending_s": pending_s,
    }
    # Children that decode are started before, and take a second or two for it.
    list(inspect_images([("", b"")], 1))
    if not ingest:
        return metrics
    metrics["dry_run_s"], _, plans = timed(lambda: plan_drops(settings, DATASET, None, InProcess()))
    assert sum(plan.images for plan in plans) == drops * images
    metrics["ingest_s"], metrics["ingest_cpu_s"], summary = timed(
        lambda: run_ingest(IngestRequest(dataset=DATASET), settings, InProcess())
    )
    assert summary.images == sum(drop.annotations for drop in summary.drops) == drops * images
    metrics["pending_after_ingest_s"], _, pending = timed(list_pending)
    assert pending == drops * images
    metrics["find_nothing_new_s"], _, found = timed(
        lambda: find_drops.fn(root, DATASET, 60, limits)
    )
    assert found == []
    return metrics


def server_seconds(endpoint: str, store: ObjectStore) -> tuple[float, float]:
    """Seconds in which the server lists and gives every object of the inbox, plainly asked."""
    list_s, _, listed = timed(lambda: [info.key for info in store.list("inbox/")])
    client = boto3.client("s3")
    folder = store.root.removeprefix(f"s3://{BUCKET}/")
    signed = [
        client.generate_presigned_url(
            "get_object", Params={"Bucket": BUCKET, "Key": f"{folder}/{key}"}
        )
        for key in listed
    ]

    def get(urls: list[str]) -> int:
        given = 0
        for url in urls:
            # moto closes each connection.
            connection = http.client.HTTPConnection(urlsplit(endpoint).netloc)
            connection.request("GET", url.removeprefix(endpoint))
            answer = connection.getresponse()
            given += answer.status == 200 and len(answer.read()) >= 0
            connection.close()
        return given

    parts = [signed[start::CONNECTIONS] for start in range(CONNECTIONS)]
    with ThreadPoolExecutor(CONNECTIONS) as threads:
        get_s, _, given = timed(lambda: sum(threads.map(get, parts)))
    assert given == len(listed)
    return list_s, get_s


def main() -> None:
    """Read the command line, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--drops", type=int, default=500)
    parser.add_argument("--images", type=int, default=20, help="in each drop")
    parser.add_argument("--plan-only", action="store_true", help="do not take them in")
    parser.add_argument("--only", choices=("folder", "s3"))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    metrics: dict[str, float | None] = {}
    if options.only != "s3":
        with tempfile.TemporaryDirectory() as folder:
            found = measure(
                Settings(root=folder), options.drops, options.images, not options.plan_only
            )
            metrics |= {f"folder_{name}": value for name, value in found.items()}
    if options.only != "folder":
        with s3_process() as endpoint:
            os.environ |= {
                "AWS_ACCESS_KEY_ID": "test",
                "AWS_SECRET_ACCESS_KEY": "test",
                "AWS_DEFAULT_REGION": "us-east-1",
                "AWS_ENDPOINT_URL": endpoint,
            }
            boto3.client("s3").create_bucket(Bucket=BUCKET)
            root = f"s3://{BUCKET}/data"
            found = measure(
                Settings(root=root), options.drops, options.images, not options.plan_only
            )
            metrics |= {f"s3_{name}": value for name, value in found.items()}
            list_s, get_s = server_seconds(endpoint, open_store(root))
            metrics |= {"s3_server_list_s": list_s, "s3_server_get_s": get_s}
    method = (
        f"{options.drops} drops of {options.images} pictures of {WIDTH_PX} x {HEIGHT_PX} px and a "
        "COCO document with a box on each, complete for more than a minute; planned: found, sealed "
        "with the sha256 of every file, and images that wait for the models listed; ingest is the "
        "whole of it, decoders running; on a folder and on moto's S3 server, a process of its own "
        f"on the same cores, which answers as many plain GETs over {CONNECTIONS} connections in "
        "s3_server_get_s"
    )
    write_record("many_drops", metrics, method, ["boto3", "deltalake", "moto"], options.json)


if __name__ == "__main__":
    main()
