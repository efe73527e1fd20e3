"""The real thing: a server, a worker, the deployments of prefect.yaml, and a run of nightly."""

import os
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest

from examples.comics.drop import write_drop
from storage.lake import Lake
from storage.session import connect

ROOT = Path(__file__).parents[2]
PREFECT = [sys.executable, "-m", "prefect"]
PAGES = 2


@contextmanager
def background(command, environment, log):
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT
        )
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def wait_until_healthy(url, server, log, seconds=120):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert server.poll() is None, log.read_text()
        try:
            with urlopen(f"{url}/health", timeout=5):
                return
        except (URLError, ConnectionError, TimeoutError):
            time.sleep(0.3)
    pytest.fail(f"no answer from the server in {seconds} s:\n{log.read_text()}")


def run(command, environment):
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def images_after(root, expected, seconds=120):
    """Whether the lake comes to hold so many images in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with connect(Lake.open(str(root))) as session:
            found = session.execute("SELECT count(*) FROM images WHERE dataset = 'comics'")
            if found.fetchone() == (expected,):
                return True
        time.sleep(0.5)
    return False


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_nightly_deployment_completes_on_a_real_server_and_worker(tmp_path):
    port = free_port()
    root = tmp_path / "root"
    write_drop(root / "inbox" / "pages", range(910_000_100, 910_000_100 + PAGES))
    environment = os.environ | {
        "PREFECT_HOME": str(tmp_path / "prefect"),
        "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "NO_COLOR": "1",
        "OMP_NUM_THREADS": "1",
        "SEGMILL_ROOT": str(root),
    }
    server_log, worker_log = tmp_path / "server.log", tmp_path / "worker.log"
    server_command = [*PREFECT, "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    worker_command = [*PREFECT, "worker", "start", "--pool", "cpu"]
    with background(server_command, environment, server_log) as server:
        wait_until_healthy(environment["PREFECT_API_URL"], server, server_log)
        run([sys.executable, "-m", "deployments.provision"], environment)
        again = run([sys.executable, "-m", "deployments.provision"], environment)
        assert again.count("already there") == 2
        deployed = run([*PREFECT, "--no-prompt", "deploy", "--all"], environment)
        assert "nightly/nightly" in deployed
        with background(worker_command, environment, worker_log):
            command = [*PREFECT, "deployment", "run", "nightly/nightly", "--watch"]
            output = run([*command, "--param", 'request={"dataset": "comics"}'], environment)
            assert "Completed" in output, output + worker_log.read_text()
            assert images_after(root, PAGES)
            # A later drop: the watch says so, and the event starts ingest through its trigger.
            write_drop(root / "inbox" / "later", [910_000_200])
            watch = [*PREFECT, "deployment", "run", "watch/every-minute", "--watch"]
            run([*watch, "--param", 'request={"dataset": "comics"}'], environment)
            assert images_after(root, PAGES + 1), worker_log.read_text()
    with connect(Lake.open(str(root))) as session:
        segments, stages = session.execute(
            "SELECT (SELECT count(*) FROM segments), (SELECT count(DISTINCT stage) FROM units)"
        ).fetchone()
    assert segments > 0
    assert stages == 3
    assert list((root / "reports").glob("comics-*.html"))
