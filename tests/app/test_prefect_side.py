"""doctor, status and watch with a real Prefect server that asks for a password."""

import asyncio
import base64
import json
import subprocess
import sys
import time
from pathlib import Path
from urllib.request import Request, urlopen

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from app.prefect_side import ServerError, _all, require_server
from tests.drops import RED, write_box_drop
from tests.prefect_server import PREFECT, background, free_port, prefect_server, run

ROOT = Path(__file__).parents[2]
PASSWORD = "somebody:canary-c3f9"


def segmill(environment, *arguments):
    return subprocess.run(
        [sys.executable, "-m", "app.cli", *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
    )


def findings(environment):
    told = json.loads(segmill(environment, "doctor", "--json").stdout)["findings"]
    return {item["check"]: (item["state"], item["found"], item["do"]) for item in told}


def events(environment):
    body = json.dumps({"filter": {"event": {"name": ["drop.sealed"]}}}).encode()
    request = Request(f"{environment['PREFECT_API_URL']}/events/filter", body)
    request.add_header("Content-Type", "application/json")
    token = base64.b64encode(PASSWORD.encode()).decode()
    request.add_header("Authorization", f"Basic {token}")
    with urlopen(request) as answer:
        return json.load(answer)["events"]


def test_all_pages_of_a_long_list_are_read():
    there = list(range(7))

    async def read(offset):
        return there[offset : offset + 3]

    assert asyncio.run(_all(read)) == there


def test_a_password_in_the_address_is_not_shown():
    url = f"http://me:canary@127.0.0.1:{free_port()}/api"
    with (
        temporary_settings({PREFECT_API_URL: url}),
        pytest.raises(ServerError) as failure,
    ):
        require_server()
    assert "canary" not in str(failure.value)
    assert "http://***@127.0.0.1" in str(failure.value)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_server_that_asks_for_a_password_and_has_nothing_yet(tmp_path, monkeypatch):
    monkeypatch.setenv("PREFECT_SERVER_API_AUTH_STRING", PASSWORD)
    with prefect_server(tmp_path) as environment:
        environment["SEGMILL_ROOT"] = str(tmp_path / "root")
        del environment["PREFECT_SERVER_API_AUTH_STRING"]
        state, found, _ = findings(environment)["server"]
        assert state == "problem"
        assert "PREFECT_API_AUTH_STRING" in found
        assert PASSWORD not in found

        write_box_drop(tmp_path / "root" / "inbox" / "monday", [[((4, 4, 10, 8), RED)]])
        refused = segmill(environment, "watch")
        assert refused.returncode == 1
        assert "PREFECT_API_AUTH_STRING" in refused.stderr

        environment["PREFECT_API_AUTH_STRING"] = PASSWORD
        found = findings(environment)
        assert [found[check][0] for check in ("server", "pool cpu", "deployments")] == [
            "ok",
            "problem",
            "problem",
        ]
        assert found["automations"][2] == "segmill provision"
        run([sys.executable, "-m", "app.cli", "provision"], environment)
        assert findings(environment)["automations"][0] == "ok"
        state, text, do = findings(environment)["pool cpu"]
        assert (state, "no worker is online" in text) == ("problem", True)
        assert "prefect worker start --pool cpu" in do

        said = segmill(environment, "watch")
        assert (said.returncode, "said drop.sealed for 1 drop" in said.stderr) == (0, True)
        deadline = time.monotonic() + 20
        while not (recorded := events(environment)) and time.monotonic() < deadline:
            time.sleep(0.5)
        assert recorded[0]["payload"] == {
            "dataset": "default",
            "count": 1,
            "first": "inbox/monday/",
        }
        told = json.loads(segmill(environment, "status", "--json").stdout)
        assert told["drops_waiting"] == ["inbox/monday/"]
        assert [pool["online"] for pool in told["server"]["pools"]] == [0, 0]

        run([*PREFECT, "work-queue", "create", "maintenance", "--pool", "cpu"], environment)
        worker = [*PREFECT, "worker", "start", "--pool", "cpu", "--work-queue", "default"]
        with background(worker, environment, tmp_path / "worker.log"):
            deadline = time.monotonic() + 60
            while "no worker is online" in text and time.monotonic() < deadline:
                state, text, do = findings(environment)["pool cpu"]
        assert (state, "its queue maintenance" in text) == ("problem", True)
        assert do == "prefect worker start --pool cpu --work-queue maintenance"
