"""segmill up, for real: server, workers, watch; a drop becomes segments; nothing is left."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.request import ProxyHandler, build_opener

import pytest

from app.stack.descendants import alive, descendants
from examples.comics.drop import write_drop
from storage.lake import Lake
from storage.session import connect
from tests.prefect_server import free_port

ROOT = Path(__file__).parents[2]


@pytest.fixture
def environment(tmp_path):
    return {name: value for name, value in os.environ.items() if name != "PREFECT_API_URL"} | {
        "PREFECT_HOME": str(tmp_path / "prefect"),
        "SEGMILL_ROOT": str(tmp_path / "root"),
        "OMP_NUM_THREADS": "1",
        # Of an office, through which nobody reaches this machine.
        "http_proxy": f"http://127.0.0.1:{free_port()}",
    }


def segmill(*arguments):
    return [sys.executable, "-m", "app.cli", *map(str, arguments)]


def wait_until(ready, process, log, seconds):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if ready():
            return
        assert process.poll() is None, log.read_text()
        time.sleep(0.5)
    pytest.fail(f"not in {seconds} s:\n{log.read_text()}")


def segments_in(root):
    with connect(Lake.open(str(root))) as session:
        return session.execute("SELECT count(*) FROM segments").fetchone()[0]


def parameters_of(url, deployment):
    with build_opener(ProxyHandler({})).open(f"{url}/deployments/name/{deployment}") as answer:
        return json.load(answer)["parameters"]


def test_a_port_that_is_taken_is_told(environment):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = subprocess.run(
            segmill("up", "--port", port), cwd=ROOT, env=environment, capture_output=True, text=True
        )
    assert done.returncode == 2
    assert f"port {port} is taken" in " ".join(done.stderr.replace("│", " ").split())


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_drop_becomes_segments_and_ctrl_c_leaves_nothing_behind(environment, tmp_path):
    log, root, port = tmp_path / "up.log", tmp_path / "root", free_port()
    url = f"http://127.0.0.1:{port}/api"
    with log.open("wb") as output:
        process = subprocess.Popen(
            segmill("up", "--port", port, "--interval", "1", "--dataset", "comics"),
            cwd=ROOT, env=environment, stdout=output, stderr=output, start_new_session=True,
        )  # fmt: skip
    started = set()
    try:
        wait_until(lambda: "\nready" in log.read_text(), process, log, 240)
        write_drop(root / "inbox" / "pages", [910_000_300, 910_000_301])
        started |= descendants(process.pid)
        wait_until(lambda: segments_in(root) > 0, process, log, 240)
        asked = environment | {"PREFECT_API_URL": url, "no_proxy": "127.0.0.1"}
        doctor, status = (
            subprocess.run(segmill(*verb), cwd=ROOT, env=asked, capture_output=True, text=True)
            for verb in (("doctor", "--json"), ("status", "--json", "--dataset", "comics"))
        )
        assert doctor.returncode == 0, doctor.stdout
        states = {item["check"]: item["state"] for item in json.loads(doctor.stdout)["findings"]}
        for check in ("server", "pool cpu", "pool gpu", "deployments", "automations", "clock"):
            assert states[check] == "ok", doctor.stdout
        told = json.loads(status.stdout)
        assert told["images"] == 2
        assert {pool["name"]: pool["online"] for pool in told["server"]["pools"]} == {
            "cpu": 1,
            "gpu": 1,
        }
        assert not [run for run in told["server"]["runs"] if run["state"] in ("Failed", "Crashed")]
        # The night's sweep, too, must take drops into this dataset.
        assert parameters_of(url, "nightly/nightly") == {
            "request": {"dataset": "comics", "segment_deployment": "segment/on-ingest"}
        }
    finally:
        started |= descendants(process.pid)
        process.send_signal(signal.SIGINT)
        code = process.wait(120)
    text = log.read_text()
    assert code == 0, text
    assert len(started) >= 4
    assert alive(started) == set()
    for name in ("server", "worker-cpu", "worker-gpu", "watch"):
        assert f"{name:10} | " in text, text


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_all_end_when_one_dies(environment, tmp_path):
    log, port = tmp_path / "up.log", free_port()
    with log.open("wb") as output:
        process = subprocess.Popen(
            segmill("up", "--port", port, "--no-gpu"),
            cwd=ROOT, env=environment, stdout=output, stderr=output, start_new_session=True,
        )  # fmt: skip
    try:
        wait_until(lambda: "starting workers" in log.read_text(), process, log, 200)
        time.sleep(1)
        started = descendants(process.pid)
        (watch,) = [
            key
            for key in started
            if b"watch" in Path(f"/proc/{key.pid}/cmdline").read_bytes().split(b"\0")
        ]
        os.kill(watch.pid, signal.SIGKILL)
        code = process.wait(100)
    finally:
        process.kill()
    assert code == 1
    assert "watch was killed by signal 9" in log.read_text()
    assert alive(started) == set()
