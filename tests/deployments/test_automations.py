"""What the automations of a real server do when runs die or fail and input is bad."""

import asyncio
import json
import subprocess
import sys
import threading
import time
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from queue import Empty, Queue

import pytest
from prefect.blocks.webhook import Webhook
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL, temporary_settings

from deployments.automations import AUTOMATIONS, ensure_automations, wanted_automations
from deployments.notifications import find_notifier
from flows.events import QUARANTINE_ALARM
from tests.drops import write_box_drop
from tests.prefect_server import ROOT, run

pytestmark = pytest.mark.slow

# Prefect allows no shorter one, and a run sends no heartbeats as often.
PATIENCE = timedelta(seconds=10)


class Told(HTTPServer):
    """A server that keeps what it is told."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Listener)
        self.messages = Queue()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/"

    def next(self, subject, seconds=90):
        """The text of the next message with a subject."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                message = self.messages.get(timeout=max(0, deadline - time.monotonic()))
            except Empty:
                pytest.fail(f"nobody was told {subject!r}")
            if message["subject"] == subject:
                return message["text"]


class Listener(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        message = json.loads(body)
        # The block sends a text as a JSON string.
        self.server.messages.put(json.loads(message) if isinstance(message, str) else message)
        self.send_response(204)
        self.end_headers()

    def log_message(self, *arguments):
        pass


@pytest.fixture
def told():
    server = Told()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def alarmed(server, told):
    """A server whose automations call `told`."""
    with temporary_settings({PREFECT_API_URL: server["PREFECT_API_URL"]}):
        Webhook(url=told.url, allow_private_urls=True).save("ops", overwrite=True)

        async def make():
            async with get_client() as client:
                notifier = await find_notifier(client, "webhook/ops")
                wanted = wanted_automations(notifier, PATIENCE)
                return await ensure_automations(client, wanted, dry_run=False)

        assert len(asyncio.run(make())) == len(AUTOMATIONS)
        # The server's triggers are read anew every few seconds.
        time.sleep(3)
        yield server


def state_of(run_id):
    async def read():
        async with get_client() as client:
            return (await client.read_flow_run(run_id)).state

    return asyncio.run(read())


def test_a_killed_run_is_marked_as_crashed_and_told(alarmed, told):
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.deployments.silent_run"],
        cwd=ROOT, env=alarmed, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        run_id = process.stdout.readline().strip()
        time.sleep(2)  # the first heartbeat is on its way
    finally:
        process.kill()
        process.communicate()
    assert state_of(run_id).is_running()
    assert "no sign of life" in told.next("SegMill: a run crashed")
    assert state_of(run_id).is_crashed()
    # It was a night, and a crashed night has failed.
    assert "Crashed" in told.next("SegMill: a night failed")


def test_bad_input_is_told_whatever_its_name(alarmed, told):
    code = (
        "from flows.events import emit; "
        f"emit({QUARANTINE_ALARM!r}, 'street', source='inbox/\"a\\' {{{{ 1 }}}}/', percent=40)"
    )
    run([sys.executable, "-c", code], alarmed)
    text = told.next("SegMill: bad input")
    assert text.startswith("40 % of inbox/\"a' {{ 1 }}/ (dataset street)")


def test_a_drop_that_is_mostly_bad_is_told_by_the_flow_that_takes_it_in(alarmed, told, tmp_path):
    drop = tmp_path / "inbox" / "mess"
    write_box_drop(drop, [[]])
    for name in ("a.png", "b.png"):
        (drop / "images" / name).write_bytes(b"no image")
    (drop / "_DONE").touch()
    code = (
        "from flows.ingest import ingest; from flows.requests import IngestRequest; "
        "ingest(IngestRequest(dataset='street'))"
    )
    environment = alarmed | {"SEGMILL_ROOT": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment,
                          capture_output=True, text=True, timeout=120)  # fmt: skip
    assert "QuarantineLimitError" in done.stderr
    text = told.next("SegMill: bad input")
    assert text.startswith("67 % of ")
    assert "/inbox/mess/ (dataset street)" in text
