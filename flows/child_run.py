"""A run of another deployment that a run starts, waits for, and gives up where nobody does it.

What Prefect says of it decides only how long to wait; what it did is in the tables.
"""

import logging
import time
from dataclasses import dataclass
from itertools import count
from typing import Any, cast
from uuid import UUID

from httpx import HTTPError
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
    WorkPoolFilter,
    WorkPoolFilterName,
)
from prefect.client.schemas.objects import FlowRun, StateType, WorkerStatus
from prefect.deployments import run_deployment
from prefect.events.filters import EventAnyResourceFilter, EventFilter
from prefect.exceptions import ObjectNotFound, PrefectException
from prefect.states import Cancelling

from flows.best_effort import best_effort
from tasks.device_use import seconds_text

_log = logging.getLogger(__name__)

_POLL_SECONDS = 5.0
# A run that works says so every 180 s (PREFECT_FLOWS_HEARTBEAT_FREQUENCY), and late if it is busy.
_LEAST_SILENCE_AT_WORK_SECONDS = 900.0
_MESSAGE_CHARS = 300
_UNDER_WAY = [StateType.PENDING, StateType.RUNNING, StateType.CANCELLING]


@dataclass(frozen=True)
class ChildRun:
    """What came of a run of another deployment.

    Attributes:
        run_id: Its id, which is on each row that it wrote; None if it was not created.
        problem: Why it did not complete, and what to do; None if it did.
    """

    run_id: str | None
    problem: str | None = None


def run_child(
    deployment: str,
    parameters: dict[str, Any],
    parent_id: str,
    silence_seconds: float,
    most_seconds: float,
) -> ChildRun:
    """Run a deployment as a child of the present flow run, and wait until it has ended.

    A parent that is restarted waits for the child that it has. One that is killed or cancelled
    leaves it to itself.

    Args:
        deployment: Its name, as `flow/name`.
        parameters: Of the child.
        parent_id: The present flow run.
        silence_seconds: How long to wait without a sign that somebody will do it, or does: events
            of the run, or a worker that looks for runs while others of its pool are under way.
            If it has not begun by then it is cancelled. One at work that says nothing is waited
            for somewhat longer, and never cancelled.
        most_seconds: How long to wait in any case: a process whose device hangs gives signs for
            ever.
    """
    try:
        child = start_child(deployment, parameters, parent_id)
    except ObjectNotFound:
        return ChildRun(
            None,
            f"expected a deployment {deployment} on the Prefect server, found none: "
            "prefect --no-prompt deploy --all",
        )
    except (PrefectException, HTTPError) as error:
        return ChildRun(
            None,
            f"the Prefect server did not start a run of {deployment}: {_cut(error)}; where it "
            "refuses the parameters, deploy again: prefect --no-prompt deploy --all",
        )
    _log.info("waiting for run %s (%s) of %s", child.name, child.id, deployment)
    waiting = _Waiting(deployment, child, UUID(parent_id), silence_seconds, most_seconds)
    return ChildRun(str(child.id), waiting.problem())


def start_child(deployment: str, parameters: dict[str, Any], parent_id: str) -> FlowRun:
    """Create a run of a deployment, or find the one that this parent has created before.

    One that has ended is not found: a parent that is started again later gets a new one.

    Raises:
        ObjectNotFound: If there is no such deployment.
        HTTPError: If the server refuses it, or does not answer.
    """
    attempts = count()
    while True:
        child = cast(
            "FlowRun",
            run_deployment(
                deployment,
                parameters=parameters,
                timeout=0,
                as_subflow=True,
                idempotency_key=f"{parent_id}-{deployment}-{next(attempts)}",
            ),
        )
        if child.state is None or not child.state.is_final():
            return child


class _Waiting:
    """Waits for a child."""

    def __init__(
        self,
        deployment: str,
        child: FlowRun,
        parent_id: UUID,
        silence_seconds: float,
        most_seconds: float,
    ) -> None:
        self._deployment = deployment
        self._child = child
        self._parent_id = parent_id
        self._silence_seconds = silence_seconds
        self._most_seconds = most_seconds

    @property
    def _patience_seconds(self) -> float:
        """How long nothing need be heard."""
        if self._has_not_begun:
            return self._silence_seconds
        return max(self._silence_seconds, _LEAST_SILENCE_AT_WORK_SECONDS)

    @property
    def _has_not_begun(self) -> bool:
        state = self._child.state
        return state is not None and (state.is_scheduled() or state.is_pending())

    def problem(self) -> str | None:
        """Wait until it has ended or is given up; returns why it did not complete."""
        lost: Exception | None = None
        signs: tuple[object, ...] | None = None
        began = heard = look_again = time.monotonic()
        while True:
            try:
                with get_client(sync_client=True) as client:
                    self._child = client.read_flow_run(self._child.id)
                    if self._child.state is not None and self._child.state.is_final():
                        return self._how_it_ended()
                    # Rarely, for these are several requests.
                    if lost or time.monotonic() >= look_again:
                        look_again = time.monotonic() + self._patience_seconds / 10
                        before, signs = signs, self._signs(client)
                        if lost or signs != before:
                            heard = time.monotonic()
                        lost = None
            except ObjectNotFound:
                return f"expected {self._run} to complete, found it deleted"
            except (PrefectException, HTTPError) as error:
                _log.warning("how run %s stands is not known: %s", self._child.name, error)
                lost = error
            if time.monotonic() - heard > self._patience_seconds:
                return self._give_up(lost)
            if time.monotonic() - began > self._most_seconds:
                return self._too_long()
            time.sleep(min(_POLL_SECONDS, self._silence_seconds / 4))

    def _signs(self, client: SyncPrefectClient) -> tuple[object, ...]:
        """What changes for as long as somebody does the child, or will when it is its turn."""
        about = EventAnyResourceFilter(id=[f"prefect.flow-run.{self._child.id}"])
        events = client.read_events(EventFilter(any_resource=about), limit=1).events
        polled = None
        queue, pool = self._child.work_queue_id, self._child.work_pool_name
        # A worker that is online and has nothing else to do would have taken it.
        if self._has_not_begun and queue and pool and self._others_are_at_work(client, pool):
            polled = client.read_work_queue(queue).last_polled
        return (events[0].id if events else None, polled)

    def _others_are_at_work(self, client: SyncPrefectClient, pool: str) -> bool:
        runs = client.read_flow_runs(
            flow_run_filter=FlowRunFilter(
                state=FlowRunFilterState(type=FlowRunFilterStateType(any_=_UNDER_WAY))
            ),
            work_pool_filter=WorkPoolFilter(name=WorkPoolFilterName(any_=[pool])),
            limit=3,
        )
        return any(run.id not in (self._child.id, self._parent_id) for run in runs)

    @property
    def _run(self) -> str:
        return f"run {self._child.name} ({self._child.id}) of {self._deployment}"

    def _how_it_ended(self) -> str | None:
        state = self._child.state
        if state is None or state.is_completed():
            return None
        message = f": {_cut(state.message)}" if state.message else ""
        return (
            f"expected {self._run} to complete, found it {state.name}{message}; "
            f"prefect flow-run logs {self._child.id} says more"
        )

    def _too_long(self) -> str:
        return (
            f"expected {self._run} to end within {seconds_text(self._most_seconds)}, found it "
            f"{self._state_name}, and left it to itself: prefect flow-run logs {self._child.id} "
            f"says how far it is, prefect flow-run cancel {self._child.id} ends it"
        )

    @property
    def _state_name(self) -> str:
        state = self._child.state
        return (state and state.name) or "unknown"

    def _give_up(self, lost: Exception | None) -> str:
        patience = seconds_text(self._patience_seconds)
        if lost is not None:
            return (
                f"how {self._run} stands is not known: the Prefect server did not answer for "
                f"{patience} ({_cut(lost)})"
            )
        if not self._has_not_begun:
            return (
                f"expected {self._run}, which is {self._state_name}, to say something at least "
                f"every {patience}, found nothing: see whether its worker is alive, and end it "
                f"with prefect flow-run cancel {self._child.id} if not"
            )
        pool = self._child.work_pool_name
        found = "it was not cancelled, for the server does not answer"
        with best_effort("cancel the run"), get_client(sync_client=True) as client:
            client.set_flow_run_state(self._child.id, Cancelling())
            found = "it is cancelled"
        online = "what serves it is not known"
        with best_effort("read the pool"), get_client(sync_client=True) as client:
            online = _who_serves(client, pool) if pool else "no pool, for it has none"
        return (
            f"expected a worker of pool {pool} to begin {self._run} within {patience}, found "
            f"{online}, so {found}: prefect worker start --pool {pool}"
        )


def _who_serves(client: SyncPrefectClient, pool: str) -> str:
    if client.read_work_pool(pool).is_paused:
        return f"the pool paused (prefect work-pool resume {pool})"
    workers = client.read_workers_for_work_pool(pool)
    online = sum(worker.status == WorkerStatus.ONLINE for worker in workers)
    if not online:
        return "none online"
    return f"{online} online, and not begun"


def _cut(words: object) -> str:
    text = " ".join(str(words).split())
    return text if len(text) <= _MESSAGE_CHARS else f"{text[:_MESSAGE_CHARS]}…"
