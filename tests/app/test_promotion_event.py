"""segmill models promote says model.promoted to a Prefect server."""

import json
import subprocess
import sys
import time
from urllib.request import Request, urlopen

import pytest

from tests.model_files import put_models
from tests.prefect_server import ROOT, prefect_server

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with prefect_server(tmp_path_factory.mktemp("server")) as environment:
        yield environment


def events(server, name):
    """The events of a name that the server has, the newest first."""
    body = json.dumps({"filter": {"event": {"name": [name]}}}).encode()
    url = f"{server['PREFECT_API_URL']}/events/filter"
    with urlopen(Request(url, body, {"Content-Type": "application/json"}), timeout=10) as answer:
        return json.load(answer)["events"]


def segmill(environment, *arguments):
    command = [sys.executable, "-m", "app.cli", "models", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)


def test_promotions_and_rollbacks_are_told(server, tmp_path):
    root = str(tmp_path / "root")
    (model,) = put_models(root, tmp_path, "a")
    environment = server | {"SEGMILL_ROOT": root}
    for command in (("promote", "a", "--by-hand", "x"), ("rollback",)):
        done = segmill(environment, *command)
        assert done.returncode == 0, done.stderr
    deadline = time.monotonic() + 60
    while len(found := events(server, "model.promoted")) < 2 and time.monotonic() < deadline:
        time.sleep(0.5)
    told = sorted((event["payload"]["number"], event["payload"]["reason"]) for event in found)
    assert told == [(1, "by hand"), (2, "rollback")]
    resources = {event["resource"]["prefect.resource.id"] for event in found}
    assert f"model.{model.model_id}" in resources


def test_a_server_that_is_down_does_not_undo_a_promotion(server, tmp_path):
    root = str(tmp_path / "root")
    put_models(root, tmp_path, "a")
    environment = server | {"SEGMILL_ROOT": root, "PREFECT_API_URL": "http://127.0.0.1:9/api"}
    done = segmill(environment, "promote", "a", "--by-hand", "x")
    assert done.returncode == 0
    assert "model.promoted was not said" in done.stderr
    assert "is live from the next run on" in done.stderr
