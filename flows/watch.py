"""watch: look into the inbox, and say so if a complete new drop is there."""

from collections.abc import Callable

from prefect import flow, get_run_logger

from flows.events import DROP_SEALED, emit
from flows.requests import WatchRequest
from flows.running import OnPrefect, Runner, worker_settings
from flows.summaries import WatchSummary
from storage.errors import QueueError
from storage.settings import Settings
from tasks.drop_units import Limits
from tasks.drops import find_drops
from tasks.notifications import Notices, delete_notices, receive_notices

_LINES = 20


def run_watch(
    request: WatchRequest,
    settings: Settings,
    run: Runner,
    *,
    say_sealed: Callable[[list[str]], None],
    log: Callable[[str], None],
    wait_seconds: float = 0,
) -> WatchSummary:
    """Receive notifications, sweep the inbox, say what is complete, delete the notifications.

    A message is deleted when its drop was said, is known already, or is still being written: then
    a later sweep finds it, for every sweep looks at the whole inbox.

    Args:
        request: The dataset.
        settings: Of the machine.
        run: What runs the steps.
        say_sealed: Told the prefixes of complete drops, if there are any; what it raises keeps the
            messages.
        log: Told each message that says nothing about the inbox.
        wait_seconds: How long to wait for a first message before looking.
    """
    queue, problem = settings.sqs_queue_url, None
    notices = Notices([], [])
    try:
        if queue:
            notices = run.call(receive_notices, queue, settings.root, wait_seconds)
    except QueueError as error:
        # The inbox is looked at all the same: the queue only makes it sooner.
        problem = str(error)
    for reason in notices.refused[:_LINES]:
        log(f"deleted a message: {reason}")
    if more := len(notices.refused[_LINES:]):
        log(f"deleted {more} more messages that say nothing about the inbox")
    limits = Limits.of(settings)
    found = run.call(
        find_drops, settings.root, request.dataset, settings.drop_quiet_seconds, limits
    )
    names = [drop.place.name for drop in found if not drop.problem]
    if names:
        say_sealed(names)
    returning = 0
    try:
        if queue and notices.messages:
            returning = run.call(delete_notices, queue, notices.messages)
    except QueueError as error:
        problem = str(error)
    return WatchSummary(
        dataset=request.dataset,
        drops=names,
        messages=len(notices.messages),
        refused=len(notices.refused),
        returning=returning,
        queue_problem=problem,
        unreadable=[drop.problem for drop in found if drop.problem],
    )


@flow(name="watch", flow_run_name="watch-{request.dataset}")
def watch(request: WatchRequest) -> WatchSummary:
    """Emit `drop.sealed` if there is anything to ingest; the first drop is named in the payload."""
    logger = get_run_logger()

    def say_sealed(names: list[str]) -> None:
        # One event for all: the run it starts ingests everything that is complete by then.
        emit(DROP_SEALED, request.dataset, count=len(names), first=names[0])

    summary = run_watch(
        request, worker_settings(), OnPrefect(), say_sealed=say_sealed, log=logger.warning
    )
    for problem in summary.unreadable:
        logger.warning(problem)
    summary.raise_for_queue()
    return summary
