"""The evaluate flow, in this process and on a server."""

import json
import os
import sys

import pytest

from flows.evaluate import run_evaluate
from flows.requests import EvaluateRequest
from flows.running import InProcess
from flows.summaries import evaluation_rows
from storage.evaluations import read_evaluations
from storage.lake import Lake
from storage.settings import Settings
from tests.frozen_pages import write_held_back
from tests.prefect_server import prefect_server, run

FLOW = """
import json
from flows.evaluate import evaluate
from flows.requests import EvaluateRequest
request = EvaluateRequest(dataset="comics", model="demo", max_images=2, automatic=False)
summary = evaluate(request)
print(json.dumps([summary.evaluation_id, summary.images, summary.reused]))
"""


@pytest.fixture
def root(tmp_path):
    write_held_back(tmp_path / "pages", pages=3, split="val")
    command = ["ingest", str(tmp_path / "pages"), "--dataset", "comics", "--quiet"]
    run([sys.executable, "-m", "app.cli", *command, "--root", str(tmp_path / "root")], os.environ)
    return str(tmp_path / "root")


@pytest.mark.slow
def test_the_flow_measures_on_a_server_what_the_command_finds_again(root, tmp_path):
    with prefect_server(tmp_path) as environment:
        said = run([sys.executable, "-c", FLOW], environment | {"SEGMILL_ROOT": root})
    evaluation_id, images, reused = json.loads(said.strip().splitlines()[-1])
    (stored,) = read_evaluations(Lake.open(root))
    assert (evaluation_id, images, reused) == (stored.evaluation_id, 2, False)
    assert stored.run_id
    runner = InProcess()
    request = EvaluateRequest(dataset="comics", model="demo", max_images=2, automatic=False)
    summary = run_evaluate(request, Settings(root=root), runner)
    assert (summary.reused, summary.split) == (True, "val")
    assert [stage.stage for stage in runner.stages] == ["evaluate"]
    rows = evaluation_rows(summary)
    assert rows[0].keys() == {"metric", "value", "oracle"}
    assert [row["metric"] for row in rows][:2] == ["miou.box", "miou@1.centre"]
    assert rows[1]["oracle"] == summary.metrics["miou@1.centre.oracle"]
