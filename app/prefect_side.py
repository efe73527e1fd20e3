"""What the Prefect server of the present profile says about itself, its workers and its runs."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from storage.addresses import without_secrets

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient

T = TypeVar("T")

_SECONDS = 10.0
_MOST_RUNS = 50


class ServerError(ConnectionError):
    """The Prefect server does not answer as it should.

    Attributes:
        kind: `address`, `auth` or `answer`.
    """

    def __init__(self, kind: str, message: str) -> None:
        self.kind = kind
        super().__init__(message)


@dataclass(frozen=True)
class PoolState:
    """A work pool.

    Attributes:
        name: Its name.
        online: How many of its workers sent a heartbeat lately.
        paused: Whether nothing in it starts.
        unserved: Its queues that no worker asked for runs lately.
    """

    name: str
    online: int
    paused: bool
    unserved: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class DeploymentState:
    """A deployment, as FLOW/NAME, with its schedules: their texts, and whether they are on.

    Attributes:
        triggers: How many automations that are on start it by events.
    """

    name: str
    schedules: dict[str, bool]
    paused: bool
    triggers: int = 0


@dataclass(frozen=True)
class RunState:
    """A flow run that is running, late or failed."""

    name: str
    flow: str
    state: str
    message: str
    at: datetime | None


@dataclass(frozen=True)
class ServerState:
    """What a server says.

    Attributes:
        url: Of its API.
        version: Of Prefect there.
        date: Its clock, UTC, if it told it.
        pools: Its work pools.
        deployments: Its deployments.
        runs: Flow runs that are running, late, or failed in the last days.
        automations: Names of its automations that are on.
    """

    url: str
    version: str
    date: datetime | None
    pools: list[PoolState] = field(default_factory=list)
    deployments: list[DeploymentState] = field(default_factory=list)
    runs: list[RunState] = field(default_factory=list)
    automations: list[str] = field(default_factory=list)


def server_url() -> str | None:
    """The API's address in the present profile and environment; None where there is none."""
    from prefect.settings import PREFECT_API_URL

    return PREFECT_API_URL.value() or None


def server_address() -> str | None:
    """The API's address to show: without a password that is in it."""
    url = server_url()
    return None if url is None else without_secrets(url)


def require_server() -> None:
    """Make sure that the server answers.

    Raises:
        ServerError: If it does not.
    """
    _ask(_hello)


def read_server(days: float = 3) -> ServerState:
    """Ask the server for its state.

    Args:
        days: How far back failed runs are looked for.

    Raises:
        ServerError: If there is no address, no answer, or no right to ask.
    """
    state: ServerState = _ask(lambda client: _read(client, days))
    return state


def _ask(question: Any) -> Any:
    import httpx
    from prefect.client.orchestration import get_client

    url = server_address()
    if url is None:
        raise ServerError("address", "no Prefect server is known: set PREFECT_API_URL")

    async def ask() -> Any:
        # Prefect's client tries again for minutes by itself.
        settings = {"timeout": httpx.Timeout(_SECONDS)}
        async with get_client(httpx_settings=settings) as client:
            call: Coroutine[Any, Any, Any] = question(client)
            return await asyncio.wait_for(call, 3 * _SECONDS)

    try:
        return asyncio.run(ask())
    except httpx.HTTPStatusError as error:
        status = error.response.status_code
        if status in (401, 403):
            raise ServerError(
                "auth",
                f"{url} answers {status}: set PREFECT_API_AUTH_STRING to what the server's "
                "PREFECT_SERVER_API_AUTH_STRING is",
            ) from None
        raise ServerError("answer", f"{url} answers {status}; is it a Prefect API?") from None
    except (httpx.HTTPError, TimeoutError, OSError) as error:
        reason = without_secrets(str(error)) or type(error).__name__
        raise ServerError("address", f"no answer from {url}: {reason}") from None
    except (ValueError, RuntimeError) as error:
        raise ServerError(
            "answer", f"{url} is no Prefect server of this version: {error}"
        ) from None


async def _hello(client: "PrefectClient") -> Any:
    response = await client._client.get("/admin/version")
    response.raise_for_status()
    return response


async def _read(client: "PrefectClient", days: float) -> ServerState:
    from prefect.client.schemas.objects import WorkerStatus, WorkQueueStatus

    hello = await _hello(client)
    date = hello.headers.get("date")
    pools = []
    for pool in await _all(client.read_work_pools):
        workers = await _all(partial(client.read_workers_for_work_pool, pool.name))
        online = sum(worker.status == WorkerStatus.ONLINE for worker in workers)
        queues = await _all(partial(client.read_work_queues, pool.name))
        unserved = [queue.name for queue in queues if queue.status == WorkQueueStatus.NOT_READY]
        pools.append(PoolState(pool.name, online, pool.is_paused, sorted(unserved)))
    automations = [item for item in await _all(client.read_automations) if item.enabled]
    started = Counter(
        getattr(action, "deployment_id", None) for item in automations for action in item.actions
    )
    flows = {flow.id: flow.name for flow in await _all(client.read_flows)}
    deployments = [
        DeploymentState(
            f"{flows.get(item.flow_id, '?')}/{item.name}",
            {_schedule(schedule.schedule): schedule.active for schedule in item.schedules},
            item.paused,
            started[item.id],
        )
        for item in await _all(client.read_deployments)
    ]
    return ServerState(
        url=server_address() or "",
        version=str(hello.json()),
        date=parsedate_to_datetime(date) if date else None,
        pools=sorted(pools, key=lambda pool: pool.name),
        deployments=sorted(deployments, key=lambda item: item.name),
        runs=await _runs(client, flows, days),
        automations=sorted(item.name for item in automations),
    )


async def _all(read: Callable[..., Awaitable[list[T]]]) -> list[T]:
    """Page by page, for the server returns so many at once, and no more."""
    found: list[T] = []
    while page := await read(offset=len(found)):
        found += page
    return found


def _schedule(schedule: Any) -> str:
    for name in ("cron", "rrule"):
        if text := getattr(schedule, name, None):
            return str(text)
    return f"every {getattr(schedule, 'interval', '?')}"


async def _runs(client: "PrefectClient", flows: dict[Any, str], days: float) -> list[RunState]:
    from prefect.client.schemas.filters import (
        FlowRunFilter,
        FlowRunFilterExpectedStartTime,
        FlowRunFilterState,
        FlowRunFilterStateName,
        FlowRunFilterStateType,
    )
    from prefect.client.schemas.objects import StateType
    from prefect.client.schemas.sorting import FlowRunSort

    at_work = FlowRunFilter(
        state=FlowRunFilterState(
            type=FlowRunFilterStateType(any_=[StateType.RUNNING, StateType.PENDING])
        )
    )
    late = FlowRunFilter(state=FlowRunFilterState(name=FlowRunFilterStateName(any_=["Late"])))
    failed = FlowRunFilter(
        state=FlowRunFilterState(
            type=FlowRunFilterStateType(any_=[StateType.FAILED, StateType.CRASHED])
        ),
        expected_start_time=FlowRunFilterExpectedStartTime.model_validate(
            {"after_": datetime.now(UTC) - timedelta(days=days)}
        ),
    )
    runs = []
    for wanted in (at_work, late, failed):
        for run in await client.read_flow_runs(
            flow_run_filter=wanted, sort=FlowRunSort.EXPECTED_START_TIME_DESC, limit=_MOST_RUNS
        ):
            state = run.state
            runs.append(
                RunState(
                    run.name,
                    flows.get(run.flow_id, "?"),
                    state.name or "?" if state else "?",
                    ((state.message or "") if state else "")[:200],
                    run.start_time or run.expected_start_time,
                )
            )
    return runs
