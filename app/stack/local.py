"""A local stack: Prefect server, work pools, deployments, workers, and the watch."""

import os
import shlex
import socket
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.error import URLError
from urllib.request import urlopen

import yaml

from app.stack.children import Children

PROJECT = Path(__file__).parents[2]
_PREFECT = [sys.executable, "-m", "prefect"]
_SERVER_SECONDS = 120.0
_STEP_SECONDS = 180.0
_WORKER_SECONDS = 120.0
_HOST = "127.0.0.1"
_DATABASE = "PREFECT_SERVER_DATABASE_CONNECTION_URL"
# Address, user and password of it, by their newer and older names.
_OF_DATABASE = ("PREFECT_SERVER_DATABASE_", "PREFECT_API_DATABASE_")

SERVER_SETTINGS = {
    # Runs lease their place among those of their deployment. In memory, where the server keeps
    # leases otherwise, they end with it: after a restart runs under way were cancelled when they
    # renewed theirs, and the place of one that had died was never given back.
    "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": (
        "prefect.server.concurrency.lease_storage.filesystem"
    ),
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
}
"""What the server is told unless the environment says otherwise."""

WORKER_SETTINGS = {
    # Prefect's ten seconds are for many workers on one server; a drop waits for two of them.
    "PREFECT_WORKER_QUERY_SECONDS": "2",
}
"""What workers are told, likewise."""


@dataclass(frozen=True)
class StackPlan:
    """What is started.

    Attributes:
        root: The data root, absolute or in S3.
        dataset: The dataset that drops belong to.
        port: Of the server.
        pools: Work pools that get a worker.
        database: Address of the server's database; None is Prefect's own file.
        watch_seconds: Seconds between two looks into the inbox.
    """

    root: str
    dataset: str
    port: int
    pools: tuple[str, ...]
    database: str | None
    watch_seconds: float

    @property
    def url(self) -> str:
        """The server's page."""
        return f"http://{_HOST}:{self.port}"

    def environment(self) -> dict[str, str]:
        """The variables of the processes: ours, and where the server and the data are.

        Only the server is told of its database, whose address may have a password in it: workers,
        and so what runs in them, have no business there. See `server_environment`.
        """
        chosen = {
            "PREFECT_API_URL": f"{self.url}/api",
            "SEGMILL_ROOT": self.root,
            "PYTHONUNBUFFERED": "1",
            "NO_COLOR": "1",
        }
        # Children run in a folder of their own, and must find the code as this process does.
        paths = [str(PROJECT), *filter(None, [os.environ.get("PYTHONPATH")])]
        chosen["PYTHONPATH"] = os.pathsep.join(paths)
        defaults = SERVER_SETTINGS | WORKER_SETTINGS | {"DO_NOT_TRACK": "1"}
        found = defaults | dict(os.environ) | chosen
        return {name: value for name, value in found.items() if not name.startswith(_OF_DATABASE)}

    def server_environment(self) -> dict[str, str]:
        """The variables of the server."""
        given = {name: value for name, value in os.environ.items() if name.startswith(_OF_DATABASE)}
        return self.environment() | given | ({_DATABASE: self.database} if self.database else {})


def port_is_taken(port: int) -> bool:
    """Whether something on this machine listens there already."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_HOST, port))
        except OSError:
            return True
    return False


def start_stack(plan: StackPlan, children: Children, say: Callable[[str], None]) -> None:
    """Start everything, in an order in which each finds what it needs, and wait until it is up.

    Args:
        plan: What to start.
        children: Gets the processes; stop them whatever happens.
        say: Told each step.

    Raises:
        ChildDiedError: If a process ends.
        EndAskedError: If the end is asked for.
        TimeoutError: If one is not ready in time.
    """
    _leave_out_proxies()
    environment = plan.environment()
    say("starting the Prefect server")
    server = ["server", "start", "--host", _HOST, "--port", str(plan.port)]
    children.start("server", [*_PREFECT, *server], plan.server_environment(), PROJECT)
    _wait_for(lambda: _answers(plan.url), children, _SERVER_SECONDS, "the server")
    say("creating work pools and deployments")
    with TemporaryDirectory(prefix="segmill-up-") as folder:
        file = Path(folder) / "prefect.yaml"
        file.write_text(deployments_of(plan.dataset))
        for name, command in (
            ("pools", [sys.executable, "-m", "app.cli", "provision"]),
            ("deploy", [*_PREFECT, "--no-prompt", "deploy", "--all", "--prefect-file", str(file)]),
        ):
            children.finish(children.start(name, command, environment, PROJECT), _STEP_SECONDS)
    say(f"starting workers: {', '.join(plan.pools)}")
    for pool in plan.pools:
        worker = ["worker", "start", "--pool", pool, "--name", f"up-{pool}"]
        children.start(f"worker-{pool}", [*_PREFECT, *worker], environment, PROJECT)
    watch = ["watch", "--forever", "--dataset", plan.dataset, "--interval", str(plan.watch_seconds)]
    children.start("watch", [sys.executable, "-m", "app.cli", *watch], environment, PROJECT)
    _wait_for(
        lambda: _online(plan, environment) >= set(plan.pools), children, _WORKER_SECONDS, "workers"
    )


def deployments_of(dataset: str) -> str:
    """The project's `prefect.yaml`, with a dataset that all deployments work on.

    Runs are started directly. Left to itself, a worker first starts a process that sees what a
    run needs to be fetched; nothing does here, and a drop waits for two runs.

    Args:
        dataset: The dataset. What sweeps the inbox takes its drops into this one.
    """
    wanted = yaml.safe_load((PROJECT / "prefect.yaml").read_text())
    engine = shlex.join([*_PREFECT[:2], "prefect.engine"])
    for deployment in wanted["deployments"]:
        deployment["work_pool"]["job_variables"]["command"] = engine
        request = deployment["parameters"]["request"]
        if "dataset" in request:
            request["dataset"] = dataset
    return yaml.safe_dump(wanted, sort_keys=False)


def _leave_out_proxies() -> None:
    """Let neither this process nor its children ask a proxy for the server on this machine."""
    given = os.environ.get("no_proxy") or os.environ.get("NO_PROXY")
    direct = ",".join(filter(None, [given, _HOST]))
    os.environ.update({"no_proxy": direct, "NO_PROXY": direct})


def _wait_for(ready: Callable[[], bool], children: Children, seconds: float, whose: str) -> None:
    deadline = time.monotonic() + seconds
    while True:
        # First this: else a server that somebody started a moment before could answer for ours.
        children.check()
        if ready():
            return
        if time.monotonic() > deadline:
            raise TimeoutError(
                f"{whose}: not ready in {seconds:.0f} s; the lines above may say why"
            )
        time.sleep(0.3)


def _answers(url: str) -> bool:
    try:
        with urlopen(f"{url}/api/health", timeout=5):
            return True
    except (URLError, OSError):
        return False


def _online(plan: StackPlan, environment: Mapping[str, str]) -> set[str]:
    """Pools of which a worker is online."""
    from prefect.settings import PREFECT_API_URL, temporary_settings

    from app.prefect_side import ServerError, read_server

    with temporary_settings({PREFECT_API_URL: environment["PREFECT_API_URL"]}):
        try:
            return {pool.name for pool in read_server().pools if pool.online}
        except ServerError:
            return set()
