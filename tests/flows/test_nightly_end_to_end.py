"""The real thing: a server, a worker, the deployments of prefect.yaml, and a run of nightly."""

import json
import sys
import time

import pytest

from examples.comics.drop import write_drop
from storage.lake import Lake
from storage.session import connect
from tests.prefect_server import PREFECT, background, prefect_server, run

PAGES = 2
AUTH = "segmill:a canary of a password"
# As in deployments/compose.yaml.
SECURED = {
    "PREFECT_SERVER_API_AUTH_STRING": AUTH,
    "PREFECT_SERVER_API_CSRF_PROTECTION_ENABLED": "true",
}


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
    root = tmp_path / "root"
    write_drop(root / "inbox" / "pages", range(910_000_100, 910_000_100 + PAGES))
    worker_log = tmp_path / "worker.log"
    with prefect_server(tmp_path, **SECURED) as environment:
        environment |= {"SEGMILL_ROOT": str(root), "PREFECT_API_AUTH_STRING": AUTH}
        made, again = (
            json.loads(run([sys.executable, "-m", "app.cli", "provision", "--json"], environment))
            for _ in range(2)
        )
        assert (made["changed"], again["changed"]) == (3, 0)
        deployed = run([*PREFECT, "--no-prompt", "deploy", "--all"], environment)
        assert "nightly/nightly" in deployed
        with background([*PREFECT, "worker", "start", "--pool", "cpu"], environment, worker_log):
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
    assert AUTH not in worker_log.read_text() + (tmp_path / "server.log").read_text()
    assert segments > 0
    assert stages == 3
    assert list((root / "reports").glob("comics-*.html"))
