"""segmill watch: say that complete drops wait in the inbox, so that the server starts ingest."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from app.options import Dataset, Json, Quiet, Root, plural, print_json, say, settings_for

if TYPE_CHECKING:
    from flows.summaries import WatchSummary

# How long after it was said a drop that still waits is said again: the run that should have
# taken it in may have died.
_AGAIN_SECONDS = 600.0


def watch(
    dataset: Dataset = "default",
    forever: Annotated[
        bool, typer.Option("--forever/--once", help="Look again and again, until Ctrl-C.")
    ] = False,
    interval: Annotated[
        float, typer.Option(min=0.5, help="With --forever: seconds between two looks.")
    ] = 60.0,
    root: Root = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Look into the inbox for complete new drops, and say drop.sealed to the Prefect server.

    The server then starts ingest/on-drop. Without one (PREFECT_API_URL), drops are only named.
    Where SEGMILL_SQS_QUEUE_URL names a queue with the bucket's event notifications, --forever
    looks a second after one comes. With --json each look is an object: in --forever a line each.

    Examples:
      segmill watch

      segmill watch --forever --interval 10

      segmill watch --json
    """
    if forever:
        _watch_forever(dataset, interval, root, as_json, quiet)
        return
    summary = _look(dataset, root, quiet, _say_to_server(dataset, quiet))
    if as_json:
        print_json(summary.model_dump(mode="json"))
    elif not summary.drops:
        say("no complete new drop in ROOT/inbox", quiet)
    for problem in summary.unreadable:
        say(f"trouble: {problem}", quiet)
    summary.raise_for_queue()


def _watch_forever(
    dataset: str, interval: float, root: str | None, as_json: bool, quiet: bool
) -> None:
    import duckdb
    from botocore.exceptions import BotoCoreError, ClientError
    from deltalake.exceptions import DeltaError

    from storage.errors import StorageError

    # What a store that does not answer makes of a look; the next one may go well.
    passing = (StorageError, ClientError, BotoCoreError, DeltaError, duckdb.Error, OSError)
    said_at: dict[str, float] = {}
    emit = _say_to_server(dataset, quiet)
    trouble: str | None = None

    def say_new(names: list[str]) -> None:
        now = time.monotonic()
        for name in set(said_at) - set(names):
            del said_at[name]  # taken in: if it comes back, it was changed
        new = [name for name in names if now - said_at.get(name, -_AGAIN_SECONDS) >= _AGAIN_SECONDS]
        if new:
            emit(new)
            said_at.update(dict.fromkeys(new, now))

    wait = 0.0  # the first look is at once
    while True:
        began, found = time.monotonic(), None
        try:
            found = _look(dataset, root, quiet, say_new, wait_seconds=wait)
            if not found.drops:
                said_at.clear()
            problem = "; ".join(filter(None, (found.queue_problem, *found.unreadable))) or None
        except passing as error:
            problem = str(error)
        if problem != trouble:
            # Once, not at every look.
            say(f"trouble: {problem}; going on" if problem else "going on without trouble")
            trouble = problem
        if as_json and found is not None:
            typer.echo(found.model_dump_json())
        if settings_for(root).sqs_queue_url and found is not None and not found.queue_problem:
            wait = interval  # in the queue
        else:
            wait = 0.0
            time.sleep(max(0.0, interval - (time.monotonic() - began)))


def _look(
    dataset: str,
    root: str | None,
    quiet: bool,
    say_sealed: Callable[[list[str]], None],
    wait_seconds: float = 0,
) -> "WatchSummary":
    from flows.requests import WatchRequest
    from flows.running import InProcess
    from flows.watch import run_watch

    return run_watch(
        WatchRequest(dataset=dataset),
        settings_for(root),
        InProcess(),
        say_sealed=say_sealed,
        log=lambda line: say(line, quiet),
        wait_seconds=wait_seconds,
    )


def _say_to_server(dataset: str, quiet: bool) -> Callable[[list[str]], None]:
    """What emits the event, and fails where the server would not get it."""
    from app.prefect_side import require_server, server_url

    url = server_url()

    def emit_sealed(names: list[str]) -> None:
        shown = ", ".join(names[:3]) + (", …" if names[3:] else "")
        if url is None:
            say(
                f"{plural(len(names), 'complete new drop')}: {shown}; no server is told, because "
                "PREFECT_API_URL is not set: segmill ingest takes them in",
                quiet,
            )
            return
        from flows.events import DROP_SEALED, emit

        require_server()  # the event goes out in the background, where nobody sees it fail
        emit(DROP_SEALED, dataset, count=len(names), first=names[0])
        say(f"said {DROP_SEALED} for {plural(len(names), 'drop')}: {shown}", quiet)

    return emit_sealed
