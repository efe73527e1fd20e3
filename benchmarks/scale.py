"""How many images a second the segment flow does on one node and on two.

    python -m benchmarks.scale --json FILE

Each cluster is a real one of this machine, a process of one core a node, and does the same pages
after a few others that load the models.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.record import write_record
from examples.comics.drop import write_drop
from flows.ingest import run_ingest
from flows.requests import IngestRequest
from flows.running import InProcess
from storage.settings import Settings
from tests.clusters import CLUSTERS
from tests.prefect_server import prefect_server

SEED = 900_200_000
BATCH_IMAGES = 4


def main() -> None:
    """Read the command line, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--images", type=int, default=32)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--engine", choices=CLUSTERS, help="only this one, and on --nodes only")
    parser.add_argument("--nodes", type=int, default=2)
    options = parser.parse_args()
    if options.engine:
        print(_seconds(options.engine, options.nodes, options.images))
        return
    metrics: dict[str, float | None] = {}
    with tempfile.TemporaryDirectory() as folder, prefect_server(Path(folder)) as environment:
        for engine in CLUSTERS:
            for nodes in (1, 2):
                # A process each: flows read which engine they run on when they are imported.
                command = [
                    sys.executable,
                    "-m",
                    "benchmarks.scale",
                    "--images",
                    str(options.images),
                ]
                done = subprocess.run(
                    [*command, "--engine", engine, "--nodes", str(nodes)],
                    env=environment,
                    check=True,
                    capture_output=True,
                    text=True,
                )
                seconds = float(done.stdout.split()[-1])
                metrics[f"{engine}_{nodes}_images_per_s"] = options.images / seconds
            one, two = (metrics[f"{engine}_{nodes}_images_per_s"] or 0 for nodes in (1, 2))
            metrics[f"{engine}_speedup_2_nodes"] = two / one
    method = (
        f"the segment flow on {options.images} generated pages of 512 px with the demo models, in "
        f"batches of {BATCH_IMAGES}, on clusters of one and two processes of one core each, with "
        "loaded models; Prefect's server runs beside on the same two cores"
    )
    write_record("scale", metrics, method, ["prefect", "ray", "dask", "torch"], options.json)


def _seconds(engine: str, nodes: int, images: int) -> float:
    with tempfile.TemporaryDirectory() as folder, CLUSTERS[engine](nodes) as address:
        os.environ |= {
            "SEGMILL_ROOT": folder,
            "SEGMILL_ENGINE": engine,
            "SEGMILL_ENGINE_ADDRESS": address,
            "SEGMILL_BATCH_IMAGES": str(BATCH_IMAGES),
        }
        from flows.requests import SegmentRequest
        from flows.segment import segment

        counts = {"first": BATCH_IMAGES * nodes, "pages": images}
        seconds = 0.0
        for number, (dataset, count) in enumerate(counts.items()):
            drop = Path(folder) / "drops" / dataset
            write_drop(drop, range(SEED + 1000 * number, SEED + 1000 * number + count))
            request = IngestRequest(dataset=dataset, source=str(drop))
            run_ingest(request, Settings(), InProcess())
            started = time.perf_counter()
            segment(SegmentRequest(dataset=dataset, model="demo"))
            seconds = time.perf_counter() - started
        return seconds


if __name__ == "__main__":
    main()
