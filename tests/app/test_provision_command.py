"""`segmill provision` against a real server that asks for a password."""

import json
import os
import subprocess
import sys

import pytest

from tests.prefect_server import ROOT, free_port, prefect_server

AUTH = "segmill:a canary of a password"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("secured")
    settings = {
        "PREFECT_SERVER_API_AUTH_STRING": AUTH,
        "PREFECT_SERVER_API_CSRF_PROTECTION_ENABLED": "true",
    }
    with prefect_server(folder, **settings) as environment:
        yield environment


def provision(environment, *arguments):
    return subprocess.run(
        [sys.executable, "-m", "app.cli", "provision", *arguments],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120,
    )  # fmt: skip


@pytest.mark.slow
def test_what_is_made_is_said_once_and_then_that_nothing_is_to_do(server):
    known = server | {"PREFECT_API_AUTH_STRING": AUTH}
    refused = provision(server)
    assert refused.returncode == 1
    assert "set PREFECT_API_AUTH_STRING as on the server" in refused.stderr
    planned = json.loads(provision(known, "--dry-run", "--json").stdout)
    assert (planned["dry_run"], planned["changed"]) == (True, 3)
    made = provision(known)
    assert "work pool cpu: created" in made.stderr
    # Whoever has several servers must see which one it was.
    assert f"the Prefect server at {server['PREFECT_API_URL']}" in made.stderr
    assert "nothing to change" in provision(known).stderr
    other = provision(known, "--type", "docker")
    assert other.returncode == 2
    assert "work pool cpu is of type process, not docker" in other.stderr
    told = provision(known | {"SEGMILL_NOTIFICATION_BLOCK": "slack-webhook/ops"})
    assert told.returncode == 2
    assert "the server has no such block" in told.stderr
    for done in (refused, made, other, told):
        assert "canary" not in done.stdout + done.stderr


def test_a_server_that_is_not_named_or_not_there_is_said(tmp_path):
    environment = {name: value for name, value in os.environ.items() if "PREFECT" not in name}
    environment["PREFECT_HOME"] = str(tmp_path)
    unnamed = provision(environment)
    assert (unnamed.returncode, "set PREFECT_API_URL" in unnamed.stderr) == (2, True)
    url = f"http://127.0.0.1:{free_port()}/api"
    absent = provision(environment | {"PREFECT_API_URL": url})
    assert absent.returncode == 1
    assert f"the Prefect server at {url} does not answer" in absent.stderr
    block = provision(environment | {"SEGMILL_NOTIFICATION_BLOCK": "nonsense"})
    assert block.returncode == 2
    assert "SEGMILL_NOTIFICATION_BLOCK" in block.stderr
