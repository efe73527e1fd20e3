"""Old runs are forgotten by a real Prefect server; young, unfinished and foreign ones are not."""

import asyncio
import sqlite3
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import ArtifactCreate, LogCreate
from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId
from prefect.events.worker import EventsWorker
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Completed, Crashed, Running, Scheduled

from flows.events import RUN_TAG
from flows.maintain import maintain
from flows.requests import MaintainRequest
from tasks.run_history import delete_old_runs
from tests.prefect_server import prefect_server

pytestmark = pytest.mark.slow

NOW = datetime.now(UTC)
OLD, YOUNG = NOW - timedelta(days=31), NOW - timedelta(days=29)


@flow
def some_flow():
    pass


@pytest.fixture
def database(tmp_path):
    """The database of a server that is now the one Prefect talks to."""
    with (
        prefect_server(tmp_path) as environment,
        temporary_settings({PREFECT_API_URL: environment["PREFECT_API_URL"]}),
    ):
        yield tmp_path / "prefect" / "prefect.db"
        # While the server is there to take them: else this process tries for minutes to send them.
        EventsWorker.drain_all(timeout=10)


def age(database, runs_ended_at):
    """Let runs have ended long ago: the API does not take the time of a state."""
    with closing(sqlite3.connect(database, timeout=60)) as connection, connection:
        for run_id, at in runs_ended_at.items():
            changed = connection.execute(
                "UPDATE flow_run SET end_time = ? WHERE id = ? AND end_time IS NOT NULL",
                (at.strftime("%Y-%m-%d %H:%M:%S.%f"), str(run_id)),
            )
            assert changed.rowcount == 1


RUNS = {
    "old": (Completed, OLD, RUN_TAG),
    "old and crashed": (Crashed, OLD, RUN_TAG),
    "young": (Completed, YOUNG, RUN_TAG),
    "without end": (Running, None, RUN_TAG),
    "waiting": (Scheduled, None, RUN_TAG),
    "foreign": (Completed, OLD, "other"),
}


async def make_runs():
    """Runs by name; each has an artifact and a log line."""
    runs: dict[str, UUID] = {}
    async with get_client() as client:
        for name, (state, _, tag) in RUNS.items():
            made = await client.create_flow_run(some_flow, name=name, tags=[tag])
            await client.set_flow_run_state(made.id, state(), force=True)
            await client.create_artifact(
                ArtifactCreate(key="a-table", type="table", data="[]", flow_run_id=made.id)
            )
            runs[name] = made.id
        lines = [
            LogCreate(name="l", level=20, message="m", timestamp=OLD, flow_run_id=run_id)
            for run_id in runs.values()
        ]
        await client.create_logs(lines)
    return runs


async def left():
    async with get_client() as client:
        runs = await client.read_flow_runs()
        return {run.name for run in runs}, len(await client.read_artifacts())


async def log_lines(runs):
    async with get_client() as client:
        wanted = LogFilter(flow_run_id=LogFilterFlowRunId(any_=list(runs.values())))
        return {line.flow_run_id for line in await client.read_logs(wanted)}


def test_old_runs_that_ended_are_deleted_with_what_belongs_to_them(database):
    runs = asyncio.run(make_runs())
    age(database, {runs[name]: at for name, (_, at, _) in RUNS.items() if at})
    planned = delete_old_runs.fn(tag=RUN_TAG, days=30, dry_run=True)
    assert (planned.runs, planned.artifacts) == (2, 2)
    assert asyncio.run(left()) == (set(runs), len(runs))
    done = delete_old_runs.fn(tag=RUN_TAG, days=30, dry_run=False)
    assert (done.runs, done.artifacts) == (2, 2)
    kept = {"young", "without end", "waiting", "foreign"}
    assert asyncio.run(left()) == (kept, len(kept))
    again = delete_old_runs.fn(tag=RUN_TAG, days=30, dry_run=False)
    assert (again.runs, again.artifacts) == (0, 0)
    # The server deletes a run's log lines a moment later.
    deadline = time.monotonic() + 30
    while asyncio.run(log_lines(runs)) != {runs[name] for name in kept}:
        assert time.monotonic() < deadline
        time.sleep(0.5)


def test_the_flow_that_maintains_tables_deletes_old_runs_too(database, tmp_path, monkeypatch):
    monkeypatch.setenv("SEGMILL_ROOT", str(tmp_path / "root"))
    runs = asyncio.run(make_runs())
    age(database, {runs["old"]: OLD})
    planned = maintain(MaintainRequest(dry_run=True))
    assert (planned.runs.runs, planned.runs.dry_run) == (1, True)
    monkeypatch.setenv("SEGMILL_RUN_HISTORY_DAYS", "32")
    assert maintain(MaintainRequest()).runs.runs == 0
    monkeypatch.delenv("SEGMILL_RUN_HISTORY_DAYS")
    assert maintain(MaintainRequest()).runs.runs == 1
    names, _ = asyncio.run(left())
    assert names == set(runs) - {"old"} | {"maintain"}
