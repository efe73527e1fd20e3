"""segmill status: the last run, what waits, what is live, and what the server says."""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.options import Dataset, Json, Root, plural, print_json, settings_for

if TYPE_CHECKING:
    from app.prefect_side import ServerState
    from tasks.overview import LastRun, Overview

_SHOWN = 5


def status(
    dataset: Dataset = "default",
    days: Annotated[
        int, typer.Option(min=1, help="How far back to look for failed runs and refused input.")
    ] = 7,
    prometheus: Annotated[
        bool, typer.Option("--prometheus", help="Print the numbers as Prometheus reads them.")
    ] = False,
    root: Root = None,
    as_json: Json = False,
) -> None:
    """Say how a dataset stands: last run, drops and images that wait, live model, quarantine.

    Where a Prefect server answers, its running, late and failed runs and its
    workers as well. Nothing is written.

    Examples:
      segmill status

      segmill status --dataset street --days 30 --json

      segmill status --prometheus > /var/lib/node_exporter/segmill.prom
    """
    from app.prefect_side import ServerError, read_server, server_url
    from flows.requests import ModelRequest
    from tasks.models import choose_models
    from tasks.overview import overview

    settings = settings_for(root)
    request = ModelRequest(dataset=dataset)
    found = overview(settings, dataset, choose_models.fn(**request.models(settings)), days)
    if prometheus:
        from app.prometheus import prometheus_text

        typer.echo(prometheus_text(found), nl=False)
        return
    server, reason = None, "no Prefect server is known (PREFECT_API_URL)"
    if server_url() is not None:
        try:
            server = read_server(days)
        except ServerError as error:
            reason = str(error)
    if as_json:
        told: dict[str, Any] = asdict(found)
        told["curation"]["ready"] = found.curation.ready
        told["server"] = None if server is None else asdict(server)
        told["server_problem"] = None if server else reason
        print_json({"root": settings.root, "at": datetime.now(UTC).isoformat()} | told)
        return
    for name, line in _lines(found, settings.root):
        _print(name, line)
    for name, line in _server_lines(server) if server else [("server", reason)]:
        _print(name, line)


def _lines(found: "Overview", root: str) -> list[tuple[str, str]]:
    lines = [
        (
            "dataset",
            f"{found.dataset} in {root}: {plural(found.images, 'image')}, "
            f"{plural(found.segments, 'segment')}",
        )
    ]
    heading = "last runs"
    for run in found.last_runs:
        lines.append(
            (
                heading,
                f"{run.stage}: {plural(run.units, 'unit')}, {run.inputs:,} in, "
                f"{plural(run.outputs, 'row')} out, {_time(run.last_at)}",
            )
        )
        heading = ""
        if run.device_seconds is not None:
            lines.append(("", _device(run, found)))
    if night := _night(found.last_runs):
        lines.append(("", night))
    if not found.last_runs:
        lines.append((heading, "none: nothing was ever taken in"))
    lines.append(
        (
            "waiting",
            f"{plural(len(found.drops_waiting), 'drop')}{_named(found.drops_waiting)}, "
            f"{plural(found.images_pending, 'image')} to segment"
            + _deferred(found)
            + (f"; uploading: {_names(found.drops_uploading)}" if found.drops_uploading else "")
            + (f"; unreadable: {_names(found.drops_unreadable)}" if found.drops_unreadable else ""),
        )
    )
    curation = found.curation
    ready = ": enough to train" if curation.ready else ""
    if curation.too_few:
        few = ", ".join(f"{label} {count:,}" for label, count in sorted(curation.too_few.items()))
        ready += f"; too few to count: {few}"
    refused = ", ".join(f"{rule} {count:,}" for rule, count in found.quarantine.items())
    return [
        *lines,
        *_models(found),
        ("curation", f"{curation.new:,} of {curation.needed:,} new curated masks{ready}"),
        ("quarantine", f"last {plural(found.quarantine_days, 'day')}: {refused or 'nothing'}"),
    ]


def _models(found: "Overview") -> list[tuple[str, str]]:
    """The live model, since when and why; and that of the settings, if it is another."""
    promotion = found.live.promotion
    if promotion is None:
        since = "from the beginning: none was promoted yet"
    else:
        why = promotion.why
        by = f", by {why.promoted_by}" if why.promoted_by else ""
        note = f", {why.note}" if why.note else ""
        since = f"since {_time(promotion.promoted_at)}: {why.reason}{note}{by}"
    lines = [("live model", f"{found.live.model_id} {since}")]
    if found.model_id != found.live.model_id:
        lines.append(("model", f"{found.model_id}, not the live one (SEGMILL_MODEL)"))
    return [*lines, ("labels", found.label_set_id)]


def _device(run: "LastRun", found: "Overview") -> str:
    from tasks.device_use import cost_text, seconds_text

    price = "" if found.cost is None else f", {cost_text(found.cost, found.currency)}"
    return f"{seconds_text(run.device_seconds or 0)} on {', '.join(run.devices)}{price}"


def _deferred(found: "Overview") -> str:
    if not found.images_deferred:
        return ""
    return f", {found.images_deferred:,} of them not in the next run: {found.deferred_because}"


def _night(runs: "list[LastRun]") -> str:
    """How long the newest run took, if it was one of several stages."""
    newest = max(runs, key=lambda run: run.last_at, default=None)
    mine = [run for run in runs if newest and run.run_id == newest.run_id]
    if len(mine) < 2:
        return ""
    seconds = max(run.last_at for run in mine) - min(run.first_at for run in mine)
    return f"one run, {seconds.total_seconds():.0f} s from its first finished unit to its last"


def _server_lines(server: "ServerState") -> list[tuple[str, str]]:
    lines = [("server", f"{server.url}, Prefect {server.version}")]
    for pool in server.pools:
        state = plural(pool.online, "worker") + " online" if pool.online else "no worker online"
        lines.append(("pool", f"{pool.name}: {state}{', paused' if pool.paused else ''}"))
    lines += [
        (
            "run",
            f"{run.state.lower()}: {run.flow}/{run.name}"
            + (f", {_time(run.at)}" if run.at else "")
            + (f": {run.message}" if run.message else ""),
        )
        for run in server.runs
    ]
    if not server.runs:
        lines.append(("run", "none is running, late or failed"))
    return lines


def _print(name: str, line: str) -> None:
    typer.echo(f"{typer.style(f'{name:11}', bold=True)} {line}")


def _named(names: list[str]) -> str:
    return f" ({_names(names)})" if names else ""


def _names(names: list[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (", …" if names[_SHOWN:] else "")


def _time(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
