"""Nights that a real worker runs for a real Prefect server, and what a test does to them."""

import signal
import sys
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest
import yaml
from prefect.client.orchestration import get_client
from prefect.events.worker import EventsWorker
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Scheduled

from app.stack.descendants import descendants, kill
from app.stack.local import SERVER_SETTINGS
from tests.drops import BLUE, GREEN, RED, write_box_drop
from tests.prefect_server import PREFECT, ROOT, background, restartable_server, run

PAGES = 12
DEPLOYMENT = "nightly/nightly"
STAND_IN = "tests.faults.stand_in_deployment"


def write_pages(folder):
    """Write a drop of several batches; returns what `sweeping.start` takes."""
    boxes = [[((3 * n, 4 + n, 10, 8), (RED, GREEN, BLUE)[n % 3])] for n in range(PAGES)]
    write_box_drop(folder / "drop", boxes)
    (folder / "model.safetensors").write_bytes(b"model")
    return str(folder / "drop"), f"file:{folder / 'model.safetensors'}"


def request_for(drop):
    """What the flow is asked, as JSON."""
    source, model = drop
    models = {"model": model, "clip_model": model}
    return {"dataset": "boxes", "source": source, "report": False} | models


class Nights:
    """A server, deployments of prefect.yaml, and a root that they fill.

    Their flows are those of `stand_in_deployment`; all the rest is as in prefect.yaml.

    Attributes:
        root: The data root.
        server: The server; it may be killed and started again.
        environment: Of a worker.
        worker_log: What all workers wrote.
    """

    def __init__(self, server, folder, drop):
        self.server = server
        self.root = str(folder / "root")
        self.worker_log = folder / "worker.log"
        self._cut = folder / "cut"
        self._halted = folder / "halted"
        self._file = folder / "prefect.yaml"
        self._request = request_for(drop)
        self.environment = server.environment | {
            "PYTHONPATH": str(ROOT),
            "PYTHONUNBUFFERED": "1",
            "PREFECT_WORKER_QUERY_SECONDS": "2",
            "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
            "SEGMILL_ROOT": self.root,
            "SEGMILL_BATCH_IMAGES": "2",
            "FAULTS_CUT_FILE": str(self._cut),
            "FAULTS_CUT_SECONDS": "1",
        }

    def deploy(self, names=(DEPLOYMENT,)):
        run([sys.executable, "-m", "app.cli", "provision"], self.environment)
        project = yaml.safe_load((ROOT / "prefect.yaml").read_text())
        wanted = []
        for deployment in project["deployments"]:
            flow = deployment["entrypoint"].rpartition(".")[2]
            if f"{flow}/{deployment['name']}" in names:
                wanted.append(deployment | {"entrypoint": f"{STAND_IN}.{flow}", "schedules": []})
        assert len(wanted) == len(names)
        self._file.write_text(yaml.safe_dump(project | {"deployments": wanted}))
        command = [*PREFECT, "--no-prompt", "deploy", "--all", "--prefect-file", str(self._file)]
        run(command, self.environment)

    @contextmanager
    def worker(self, pool="cpu", *options, **settings):
        """Run a worker; yields its process when it knows the server."""
        command = [*PREFECT, "worker", "start", "--pool", pool, *options]
        before = self._workers_started()
        with background(command, self.environment | settings, self.worker_log) as process:
            self.wait(lambda: self._workers_started() > before, 300, "worker")
            yield process
            # A worker that is told to stop waits for its runs.
            kill(descendants(process.pid))

    def _workers_started(self):
        return self.worker_log.read_text().count(" started!") if self.worker_log.exists() else 0

    def order(self, seconds=0.0, **changes):
        """Create a run that is due in some seconds; returns its id."""
        with get_client(sync_client=True) as client:
            deployment = client.read_deployment_by_name(DEPLOYMENT)
            due = Scheduled(scheduled_time=datetime.now(UTC) + timedelta(seconds=seconds))
            made = client.create_flow_run_from_deployment(
                deployment.id, parameters={"request": self._request | changes}, state=due
            )
        return made.id

    def state(self, run_id):
        with get_client(sync_client=True) as client:
            return client.read_flow_run(run_id).state

    def finish(self, run_id, seconds=600):
        """Wait until a run has completed."""
        self.wait(lambda: self.state(run_id).is_final(), seconds, "end of the run")
        assert self.state(run_id).is_completed(), self.worker_log.read_text()

    def processes(self):
        """Ids of the processes that cut images, one an image, in order."""
        return [int(pid) for pid in self._cut.read_text().split()] if self._cut.exists() else []

    def wait_for_images(self, count, seconds=300):
        """Wait until so many images were begun with."""
        self.wait(lambda: len(self.processes()) >= count, seconds, f"{count} images")

    def halting(self):
        """The variable that makes the next run stop between a batch's segments and its unit."""
        return {"FAULTS_HALT_FILE": str(self._halted)}

    def wait_for_halt(self, seconds=300):
        self.wait(self._halted.exists, seconds, "a run that halts")

    def wait(self, ready, seconds, what):
        deadline = time.monotonic() + seconds
        while not ready():
            if time.monotonic() > deadline:
                pytest.fail(f"no {what} in {seconds} s:\n{self.worker_log.read_text()}")
            time.sleep(0.2)


def kill_all(process):
    """End a worker and the runs that it started, at once."""
    started = descendants(process.pid)
    process.send_signal(signal.SIGKILL)
    process.wait()
    kill(started)


@contextmanager
def deployed_nights(folder, drop, settings=SERVER_SETTINGS, names=(DEPLOYMENT,)):
    """Start a server as `segmill up` does, make its pools and automations, and deploy."""
    with restartable_server(folder, **settings) as server:
        nights = Nights(server, folder, drop)
        with temporary_settings({PREFECT_API_URL: server.environment["PREFECT_API_URL"]}):
            nights.deploy(names)
            yield nights
            EventsWorker.drain_all(timeout=10)
