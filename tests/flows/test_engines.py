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
NIGHT = [sys.executable, "-m", "tests.flows.cluster_night"]
PAGES = 4
# Sums of other numbers of threads are rounded otherwise.
ONE_THREAD = os.environ | {"OMP_NUM_THREADS": "1"}

SEGMENTS = "SELECT image_id, label, rle FROM segments ORDER BY ALL"


@pytest.fixture(scope="module")
def drop(tmp_path_factory):
    """A drop of pages."""
    folder = tmp_path_factory.mktemp("pages") / "drop"
    write_drop(folder, range(910_000_300, 910_000_300 + PAGES))
    return folder


@pytest.fixture(scope="module")
def expected(drop, tmp_path_factory):
    """The segments that one process finds on the pages."""
    alone = tmp_path_factory.mktemp("alone")
    night = ["nightly", str(drop), "--dataset", "comics", "--root", str(alone)]
    run([*SEGMILL, *night, "--quiet"], ONE_THREAD)
    return segments(alone)


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
@pytest.mark.parametrize("engine", [pytest.param("ray", marks=pytest.mark.sweep), "dask"])
def test_two_nodes_share_the_batches_and_find_what_one_process_does(
    engine, drop, expected, tmp_path
):
    pytest.importorskip(f"prefect_{engine}")
    root = tmp_path / "root"
    run([*SEGMILL, "ingest", str(drop), "--dataset", "comics", "--root", str(root)], ONE_THREAD)
    with prefect_server(tmp_path) as environment:
        environment["SEGMILL_ROOT"] = str(root)
        environment["SEGMILL_BATCH_IMAGES"] = "1"
        # Dask's workers have a GPU each, as far as they say; Ray asks for real ones.
        environment["SEGMILL_GPUS_PER_TASK"] = "1" if engine == "dask" else "0"
        run([*NIGHT, engine], environment, 300)
        table = batch_table(environment)
    assert len(table) == PAGES
    assert len({row["worker"] for row in table}) == 2
    assert segments(root) == expected


@pytest.mark.slow
@pytest.mark.timeout(800)
@pytest.mark.sweep
@pytest.mark.parametrize("engine", ["ray", "dask"])
def test_two_nodes_keep_to_a_budget(engine, drop, tmp_path):
    pytest.importorskip(f"prefect_{engine}")
    root = tmp_path / "root"
    run([*SEGMILL, "ingest", str(drop), "--dataset", "comics", "--root", str(root)], ONE_THREAD)
    lake = Lake.open(str(root))
    with prefect_server(tmp_path) as environment:
        environment["SEGMILL_ROOT"] = str(root)
        environment["SEGMILL_BATCH_IMAGES"] = "1"
        environment["SEGMILL_GPUS_PER_TASK"] = "1" if engine == "dask" else "0"
        # Nothing is measured: a first page goes alone, and then the budget is spent.
        environment["SEGMILL_GPU_SECONDS_BUDGET"] = "0.001"
        run([*NIGHT, engine], environment, 300)
        (first,) = finished(lake)
        # As if a page had taken an hour: the mean of it and the first one fits twice.
        about = {"model_id": first["model_id"], "params_id": first["params_id"], "device": "cpu"}
        lake.commit_unit(
            stage="segment",
            unit_id="an hour",
            subject="an hour",
            inputs=1,
            outputs=0,
            image_ids=["an hour"],
            device_seconds=3600.0,
            **about,
        )
        environment["SEGMILL_GPU_SECONDS_BUDGET"] = "4500"
        run([*NIGHT, engine], environment, 300)
    due = sorted(lake.read("images")["image_id"].to_pylist())
    assert first["image_ids"] == due[:1]
    assert first["device"] == "cpu" and 0 < first["device_seconds"] < 900
    done = [row["image_ids"] for row in finished(lake) if row["unit_id"] != "an hour"]
    assert sorted(done) == [[image_id] for image_id in due[:3]]


def finished(lake):
    """The units of segment."""
    return [row for row in lake.read("units").to_pylist() if row["stage"] == "segment"]
