"""A real PostgreSQL server for tests, where its programs are installed."""

import os
import pwd
import shutil
import subprocess
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.prefect_server import background, free_port

_PASSWORD = "a canary of a password"
_LATEST_FIRST = sorted(
    Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: -float(path.parent.name)
)


@contextmanager
def postgres():
    """Run a server with an empty database; yields the URL that Prefect takes."""
    initdb, server = _program("initdb"), _program("postgres")
    as_user, user = _not_as_root()
    # pytest's folders are closed to other users.
    with tempfile.TemporaryDirectory(prefix="segmill-postgres-") as folder:
        place = Path(folder)
        password = place / "password"
        password.write_text(_PASSWORD)
        for path in (place, password):
            shutil.chown(path, user)
        data, port = place / "data", free_port()
        subprocess.run(
            [*as_user, initdb, "--pgdata", data, "--username", "prefect", "--pwfile", password,
             "--auth", "scram-sha-256", "--no-sync"],
            check=True, capture_output=True,
        )  # fmt: skip
        command = [*as_user, server, "-D", data, "-p", str(port), "-k", folder, "-F",
            "-c", "listen_addresses=127.0.0.1"]  # fmt: skip
        log = place / "log"
        with background(command, os.environ, log) as process:
            url = f"postgresql+asyncpg://prefect:{_PASSWORD}@127.0.0.1:{port}/postgres"
            _wait_until_ready(place / f".s.PGSQL.{port}", process, log)
            yield url.replace(" ", "%20")


def _program(name):
    places = os.pathsep.join([os.environ["PATH"], *map(str, _LATEST_FIRST)])
    found = shutil.which(name, path=places)
    if found is None:
        pytest.skip(f"no PostgreSQL on this machine ({name}): apt-get install postgresql")
    return found


def _not_as_root():
    """What to put before a command, for PostgreSQL refuses to be root, and who it is then."""
    if os.geteuid() != 0:
        return [], os.geteuid()
    names = {entry.pw_name for entry in pwd.getpwall()}
    user = next((name for name in ("postgres", "nobody") if name in names), None)
    if user is None or shutil.which("setpriv") is None:
        pytest.skip("PostgreSQL refuses to be root: needs setpriv, and a user postgres or nobody")
    return ["setpriv", f"--reuid={user}", "--clear-groups", "--"], user


def _wait_until_ready(socket, process, log, seconds=60):
    deadline = time.monotonic() + seconds
    while not socket.exists():
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.1)
