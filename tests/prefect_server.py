"""A real Prefect server for tests, and what runs beside it."""

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest

ROOT = Path(__file__).parents[1]
PREFECT = [sys.executable, "-m", "prefect"]


@contextmanager
def background(command, environment, log):
    with log.open("ab") as output:
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT
        )
        try:
            yield process
        finally:
            stop(process)


def stop(process):
    process.terminate()
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


class PrefectServer:
    """A server that can be killed, and started again where it was.

    Attributes:
        environment: Of everything that talks to it.
        database: Its file, where it is Prefect's own.
        log: What all its lives wrote.
    """

    def __init__(self, folder, **settings):
        self._port = free_port()
        self._settings = settings
        self._process = None
        home = folder / "prefect"
        self.database = home / "prefect.db"
        self.log = folder / "server.log"
        self.environment = os.environ | {
            "PREFECT_HOME": str(home),
            "PREFECT_API_URL": f"http://127.0.0.1:{self._port}/api",
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "DO_NOT_TRACK": "1",
            "NO_COLOR": "1",
            "OMP_NUM_THREADS": "1",
        }

    def start(self):
        command = [*PREFECT, "server", "start", "--host", "127.0.0.1", "--port", str(self._port)]
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                command, cwd=ROOT, env=self.environment | self._settings,
                stdout=output, stderr=subprocess.STDOUT,
            )  # fmt: skip
        _wait_until_healthy(self.environment["PREFECT_API_URL"], self._process, self.log)

    def kill(self):
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def stop(self):
        if self._process is not None:
            stop(self._process)


@contextmanager
def restartable_server(folder, **settings):
    """Run a server with some settings that a test may kill and start again."""
    server = PrefectServer(folder, **settings)
    try:
        server.start()
        yield server
    finally:
        server.stop()


@contextmanager
def prefect_server(folder, **settings):
    """Run a server with some settings; yields the environment of everything that talks to it."""
    with restartable_server(folder, **settings) as server:
        yield server.environment


def run(command, environment, seconds=240):
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=seconds
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def _wait_until_healthy(url, server, log, seconds=120):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert server.poll() is None, log.read_text()
        try:
            with urlopen(f"{url}/health", timeout=5):
                return
        except (URLError, ConnectionError, TimeoutError):
            time.sleep(0.3)
    pytest.fail(f"no answer from the server in {seconds} s:\n{log.read_text()}")
