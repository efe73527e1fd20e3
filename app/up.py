"""segmill up: a server, workers and the watch on this machine, until Ctrl-C."""

import signal
import threading
import time
from collections import deque
from pathlib import Path
from typing import Annotated

import typer

from app.options import FINDINGS, Dataset, Quiet, Root, say, settings_for
from app.stack.exit_reports import without_exit_report

_GRACE_SECONDS = 10.0
_KEPT_LINES = 40
_COLORS = ("cyan", "magenta", "yellow", "green", "blue", "bright_black")


def up(
    port: Annotated[int, typer.Option(min=1, max=65_535, help="Of the Prefect server.")] = 4200,
    no_gpu: Annotated[
        bool,
        typer.Option(
            "--no-gpu", help="No worker for the pool gpu: one on another machine segments."
        ),
    ] = False,
    database: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="The server's database, such as postgresql+asyncpg://USER@HOST/NAME. "
            "\\[default: $PREFECT_SERVER_DATABASE_CONNECTION_URL or a file in ~/.prefect]",
            show_default=False,
        ),
    ] = None,
    interval: Annotated[
        float, typer.Option(min=0.5, help="Seconds between two looks into the inbox.")
    ] = 5.0,
    dataset: Dataset = "default",
    root: Root = None,
    quiet: Quiet = False,
) -> None:
    """Run the engine on this machine: Prefect server, deployments, workers, and the watch.

    A folder that is put into ROOT/inbox is then ingested, segmented and counted by itself. Ctrl-C
    stops everything; what was under way is done again the next time. The server's state is kept
    where Prefect keeps it (PREFECT_HOME, ~/.prefect). Several workers want a PostgreSQL database.

    Examples:
      segmill up

      segmill up --root /data/segmill --port 4300 --no-gpu
    """
    from app.stack.children import ChildDiedError, Children, EndAskedError
    from app.stack.local import StackPlan, port_is_taken, start_stack

    if port_is_taken(port):
        raise typer.BadParameter(
            f"port {port} is taken: stop what listens there, or give another --port",
            param_hint="--port",
        )
    chosen = settings_for(root).root
    plan = StackPlan(
        root=chosen if "://" in chosen else str(Path(chosen).expanduser().absolute()),
        dataset=dataset,
        port=port,
        pools=("cpu",) if no_gpu else ("cpu", "gpu"),
        database=database,
        watch_seconds=interval,
    )
    lines = _Lines(quiet)
    children = Children(lines.show)
    failure: str | None = None
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, frame: children.ask_for_end())
    try:
        start_stack(plan, children, lambda text: say(text, quiet))
        _say_ready(plan.url, plan.root, quiet)
        while True:
            children.check()
            time.sleep(0.5)
    except EndAskedError:
        say("stopping; Ctrl-C again does not hurry it", quiet)
    except (ChildDiedError, TimeoutError) as error:
        failure = str(error)
    finally:
        left = children.stop(_GRACE_SECONDS)
    if failure is not None:
        lines.show_last()
        say(f"failed: {failure}")
    if left:
        say(f"still there, though killed: processes {', '.join(map(str, left))}")
    if failure is not None or left:
        raise typer.Exit(FINDINGS)
    say("stopped", quiet)


def _say_ready(url: str, root: str, quiet: bool) -> None:
    inbox = f"{root.rstrip('/')}/inbox"
    say(
        f"ready\n"
        f"  pages    {url}\n"
        f"  API      {url}/api      (export PREFECT_API_URL={url}/api)\n"
        f"  inbox    {inbox}/      put a folder there, and a file _DONE into it at the end\n"
        f"  stop     Ctrl-C",
        quiet,
    )


class _Lines:
    """Lines of several processes on stderr, each after its name in a colour of its own."""

    def __init__(self, quiet: bool) -> None:
        self._colors: dict[str, str] = {}
        self._writing = threading.Lock()
        self._kept: deque[tuple[str, str]] | None = deque(maxlen=_KEPT_LINES) if quiet else None

    def show(self, name: str, line: str) -> None:
        """Write one line, or where it should be quiet keep it for a while.

        Args:
            name: Of the process.
            line: What it wrote.
        """
        line = without_exit_report(line)
        if not line:
            return
        with self._writing:
            if self._kept is None:
                self._write(name, line)
            else:
                self._kept.append((name, line))

    def show_last(self) -> None:
        """Write what was kept: something failed, and the reason is there."""
        with self._writing:
            for name, line in self._kept or ():
                self._write(name, line)

    def _write(self, name: str, line: str) -> None:
        color = self._colors.setdefault(name, _COLORS[len(self._colors) % len(_COLORS)])
        typer.echo(f"{typer.style(f'{name:10}', fg=color)} | {line}", err=True)
