"""What the server does by itself: end zombie runs, and tell of failed nights and bad input.

What starts deployments is in `prefect.yaml`; these belong to no single one.
"""

from datetime import timedelta
from typing import Any

import httpx
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ActionTypes, ChangeFlowRunState
from prefect.events.schemas.automations import (
    Automation,
    AutomationCore,
    EventTrigger,
    Posture,
    ResourceSpecificationDict,
)
from prefect.exceptions import ObjectNotFound
from prefect.settings import get_current_settings

from deployments.changes import Change
from deployments.notifications import Notifier
from flows.events import QUARANTINE_ALARM, RUN_TAG

ZOMBIE_RUNS = "segmill: zombie runs"
FAILED_NIGHT = "segmill: failed night"
BAD_INPUT = "segmill: quarantine alarm"
AUTOMATIONS = (ZOMBIE_RUNS, FAILED_NIGHT, BAD_INPUT)

_DEFAULT_HEARTBEAT_SECONDS = 180
_MISSED_HEARTBEATS = 3
_RUNS: ResourceSpecificationDict = {"prefect.resource.id": "prefect.flow-run.*"}
# Other programs' runs on the same server are none of our business.
_OURS: ResourceSpecificationDict = {
    "prefect.resource.id": f"prefect.tag.{RUN_TAG}",
    "prefect.resource.role": "tag",
}
# A run that waits for something has no process, and so no heartbeat.
_ENDED_OR_WAITING = (
    "Completed", "Failed", "Crashed", "Cancelled", "Paused", "Suspended", "AwaitingRetry",
)  # fmt: skip


def zombie_patience() -> timedelta:
    """How long a run may be silent: three heartbeats, as often as Prefect's settings say here."""
    seconds = get_current_settings().flows.heartbeat_frequency or _DEFAULT_HEARTBEAT_SECONDS
    return _MISSED_HEARTBEATS * timedelta(seconds=seconds)


def wanted_automations(
    notifier: Notifier | None, patience: timedelta | None = None
) -> list[AutomationCore]:
    """The automations a server should have.

    Args:
        notifier: Who is told; without one, only what changes a state is there.
        patience: How long a run may be silent before it counts as crashed; at least 10 s.
    """
    wanted = [_zombie_runs(notifier, patience or zombie_patience())]
    if notifier is not None:
        wanted += [_failed_night(notifier), _bad_input(notifier)]
    return wanted


async def ensure_automations(
    client: PrefectClient, wanted: list[AutomationCore], *, dry_run: bool
) -> list[Change]:
    """Make the server's automations of our names those that are wanted.

    One that somebody switched off stays off.

    Args:
        client: Connected to the server.
        wanted: The automations; others of our names are removed.
        dry_run: Say what would be done; change nothing.
    """
    changes = []
    by_name = {automation.name: automation for automation in wanted}
    for name in AUTOMATIONS:
        found = await client.read_automations_by_name(name)
        change = await _ensure(client, name, by_name.get(name), found, dry_run)
        if change:
            changes.append(change)
    return changes


async def _ensure(
    client: PrefectClient,
    name: str,
    wanted: AutomationCore | None,
    found: list[Automation],
    dry_run: bool,
) -> Change | None:
    if wanted is None:
        if not dry_run:
            await _delete(client, found)
        return Change("automation", name, "removed") if found else None
    if found:
        kept, *twins = found
        wanted = wanted.model_copy(update={"enabled": kept.enabled})
        if not twins and _facts(kept) == _facts(wanted):
            return Change("automation", name, "unchanged")
    if not dry_run:
        # Replaced, not changed: an automation keeps what it counted of its old trigger. The new
        # one comes first, for the old one knows whether somebody switched it off.
        await client.create_automation(wanted)
        await _delete(client, found)
        # Another one that provisions at this moment may have created it too; both keep the same.
        twins = await client.read_automations_by_name(name)
        await _delete(client, sorted(twins, key=lambda automation: automation.id)[1:])
    return Change("automation", name, "replaced" if found else "created")


async def _delete(client: PrefectClient, automations: list[Automation]) -> None:
    for automation in automations:
        try:
            await client.delete_automation(automation.id)
        except ObjectNotFound:
            continue  # another one was quicker
        except httpx.HTTPStatusError as error:
            if error.response.status_code != httpx.codes.NOT_FOUND:
                raise


def _facts(automation: AutomationCore) -> dict[str, Any]:
    """What an automation says, apart from its id and the order of what has none."""
    told = AutomationCore.model_validate(automation.model_dump())
    return told.model_dump(exclude={"owner_resource"})


def _zombie_runs(notifier: Notifier | None, patience: timedelta) -> AutomationCore:
    heartbeat = "prefect.flow-run.heartbeat"
    crash = ChangeFlowRunState(
        state=StateType.CRASHED,
        name="Crashed",
        force=False,
        message=f"No heartbeat for {patience.total_seconds():.0f} s: its process is gone.",
    )
    told: list[ActionTypes] = []
    if notifier is not None:
        told.append(
            notifier.tell(
                "SegMill: a run crashed",
                "Flow run {{ flow_run.name }} gave no sign of life any more. What it finished is "
                "stored; the next run does the rest.",
            )
        )
    return AutomationCore(
        name=ZOMBIE_RUNS,
        description="A run whose heartbeats stop is marked as crashed.",
        trigger=EventTrigger(
            match=_RUNS,
            match_related=_OURS,
            after={heartbeat},
            expect={heartbeat, *(f"prefect.flow-run.{state}" for state in _ENDED_OR_WAITING)},
            for_each={"prefect.resource.id"},
            posture=Posture.Proactive,
            threshold=1,
            within=patience,
        ),
        actions=[crash, *told],
    )


def _failed_night(notifier: Notifier) -> AutomationCore:
    return AutomationCore(
        name=FAILED_NIGHT,
        description="A nightly run that fails or crashes is told.",
        trigger=EventTrigger(
            match=_RUNS,
            match_related=[
                {"prefect.resource.name": "nightly", "prefect.resource.role": "flow"},
                _OURS,
            ],
            expect={"prefect.flow-run.Failed", "prefect.flow-run.Crashed"},
            posture=Posture.Reactive,
            threshold=1,
        ),
        actions=[
            notifier.tell(
                "SegMill: a night failed",
                "Flow run {{ flow_run.name }} ended as {{ flow_run.state.name }}: "
                "{{ flow_run.state.message }}",
            )
        ],
    )


def _bad_input(notifier: Notifier) -> AutomationCore:
    return AutomationCore(
        name=BAD_INPUT,
        description="A drop of which more is bad than SEGMILL_QUARANTINE_MAX_FRACTION is told.",
        trigger=EventTrigger(
            match={"prefect.resource.id": "dataset.*"},
            expect={QUARANTINE_ALARM},
            posture=Posture.Reactive,
            threshold=1,
        ),
        actions=[
            notifier.tell(
                "SegMill: bad input",
                "{{ event.payload.percent }} % of {{ event.payload.source }} (dataset "
                "{{ event.payload.dataset }}) is in quarantine. What was good is stored.",
            )
        ],
    )
