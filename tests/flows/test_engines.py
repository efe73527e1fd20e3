"""The segment flow on real clusters of two nodes, and what they say where they cannot run."""

import json
import os
import sys
from urllib.request import Request, urlopen

import pytest
from prefect.task_runners import ThreadPoolTaskRunner

from examples.comics.drop import write_drop
from flows.engines import EngineMissingError, task_runner
from storage.lake import Lake
from storage.session import connect
from tests.prefect_server import prefect_server, run

SEGMILL = [sys.executable, "-m", "app.cli"]
PAGES = 4
# Sums of other numbers of threads are rounded otherwise.
ONE_THREAD = os.environ | {"OMP_NUM_THREADS": "1"}

SEGMENTS = "SELECT image_id, label, rle FROM segments ORDER BY ALL"


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """A drop of pages, and the segments that one process finds on them."""
    folder = tmp_path_factory.mktemp("pages")
    write_drop(folder / "drop", range(910_000_300, 910_000_300 + PAGES))
    alone = folder / "alone"
    night = ["nightly", str(folder / "drop"), "--dataset", "comics", "--root", str(alone)]
    run([*SEGMILL, *night, "--quiet"], ONE_THREAD)
    return folder / "drop", segments(alone)


def segments(root):
    with connect(Lake.open(str(root))) as session:
        return session.execute(SEGMENTS).fetchall()


def batch_table(environment):
    """The newest table artifact of the server."""
    request = Request(
        environment["PREFECT_API_URL"] + "/artifacts/latest/filter",
        data=json.dumps({"artifacts": {"key": {"any_": ["segment-batches"]}}}).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urlopen(request, timeout=30) as answer:
        return json.loads(json.load(answer)[0]["data"])


def test_threads_are_the_default():
    assert isinstance(task_runner(), ThreadPoolTaskRunner)


@pytest.mark.parametrize("engine", ["ray", "dask"])
def test_a_missing_package_is_named(engine, monkeypatch):
    monkeypatch.setenv("SEGMILL_ENGINE", engine)
    monkeypatch.setitem(sys.modules, f"prefect_{engine}", None)
    with pytest.raises(EngineMissingError, match=f"segmill\\[{engine}\\]"):
        task_runner()


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize("engine", ["ray", "dask"])
def test_two_nodes_share_the_batches_and_find_what_one_process_does(engine, pages, tmp_path):
    pytest.importorskip(f"prefect_{engine}")
    drop, expected = pages
    root = tmp_path / "root"
    run([*SEGMILL, "ingest", str(drop), "--dataset", "comics", "--root", str(root)], ONE_THREAD)
    with prefect_server(tmp_path) as environment:
        environment["SEGMILL_ROOT"] = str(root)
        environment["SEGMILL_BATCH_IMAGES"] = "1"
        # Dask's workers have a GPU each, as far as they say; Ray asks for real ones.
        environment["SEGMILL_GPUS_PER_TASK"] = "1" if engine == "dask" else "0"
        run([sys.executable, "-m", "tests.flows.cluster_night", engine], environment, 300)
        table = batch_table(environment)
    assert len(table) == PAGES
    assert len({row["worker"] for row in table}) == 2
    assert segments(root) == expected
