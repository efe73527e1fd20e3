"""watch: look into the inbox, and say so if a complete new drop is there."""

from prefect import flow

from flows.events import DROP_SEALED, emit
from flows.requests import WatchRequest
from flows.running import worker_settings
from tasks.drops import find_drops


@flow(name="watch", flow_run_name="watch-{request.dataset}")
def watch(request: WatchRequest) -> list[str]:
    """Emit `drop.sealed` if there is anything to ingest; the drops are named in the payload."""
    settings = worker_settings()
    places = find_drops(settings.root, request.dataset, settings.drop_quiet_seconds)
    names = [place.prefix for place in places]
    if names:
        # One event for all: the run it starts ingests everything that is complete by then.
        emit(DROP_SEALED, request.dataset, count=len(names), first=names[0])
    return names
