"""Delete what a Prefect server remembers of old runs: states, task runs, logs and artifacts."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    FlowRunFilter,
    FlowRunFilterEndTime,
    FlowRunFilterState,
    FlowRunFilterStateType,
    FlowRunFilterTags,
)
from prefect.client.schemas.objects import TERMINAL_STATES
from prefect.client.schemas.sorting import FlowRunSort
from prefect.exceptions import ObjectNotFound

# The most that the server's API returns at once.
_PAGE = 200


@dataclass(frozen=True)
class RunHistory:
    """What was deleted; in a dry run, what would be.

    Attributes:
        ended_before: Runs that ended before this time are meant.
        runs: Flow runs, with their task runs, states and logs.
        artifacts: Tables and progress bars of these runs.
        dry_run: Whether nothing was deleted.
    """

    ended_before: datetime
    runs: int
    artifacts: int
    dry_run: bool


@task(name="delete-old-runs", cache_policy=NO_CACHE, retries=2, retry_delay_seconds=10)
def delete_old_runs(*, tag: str, days: int, dry_run: bool) -> RunHistory:
    """Delete the flow runs with a tag that ended long ago.

    Runs that did not end are kept, however old. Events cannot be deleted through the API: the
    server forgets them by itself (PREFECT_SERVER_EVENTS_RETENTION_PERIOD, a week).

    Args:
        tag: Runs of other programs, without it, are left alone.
        days: How long ago, days.
        dry_run: Count them; delete nothing.
    """
    before = datetime.now(UTC) - timedelta(days=days)
    with get_client(sync_client=True) as client:
        old = _old_runs(client, tag, before)
        artifacts = _artifacts(client, old)
        if not dry_run:
            # First the artifacts: the server keeps those whose run is gone.
            for artifact in artifacts:
                _delete(client.delete_artifact, artifact)
            for run in old:
                _delete(client.delete_flow_run, run)
    return RunHistory(before, len(old), len(artifacts), dry_run)


def _old_runs(client: SyncPrefectClient, tag: str, before: datetime) -> list[UUID]:
    wanted = FlowRunFilter(
        tags=FlowRunFilterTags(all_=[tag]),
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=sorted(TERMINAL_STATES))),
        end_time=FlowRunFilterEndTime.model_validate({"before_": before}),
    )
    found: list[UUID] = []
    while page := client.read_flow_runs(
        flow_run_filter=wanted, sort=FlowRunSort.ID_DESC, limit=_PAGE, offset=len(found)
    ):
        found += [run.id for run in page]
    return found


def _artifacts(client: SyncPrefectClient, runs: list[UUID]) -> list[UUID]:
    found: list[UUID] = []
    for start in range(0, len(runs), _PAGE):
        wanted = ArtifactFilter(
            flow_run_id=ArtifactFilterFlowRunId(any_=runs[start : start + _PAGE])
        )
        seen = 0
        while page := client.read_artifacts(artifact_filter=wanted, limit=_PAGE, offset=seen):
            seen += len(page)
            found += [artifact.id for artifact in page]
    return found


def _delete(delete: Callable[[UUID], None], record: UUID) -> None:
    # Another run of this task, or a person, was quicker.
    with suppress(ObjectNotFound):
        delete(record)
