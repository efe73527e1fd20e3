"""segmill doctor: is everything there that the engine needs?"""

from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

from app.options import FINDINGS, Json, Quiet, Root, plural, print_json, say

if TYPE_CHECKING:
    from app.health.findings import Finding

_COLORS = {"ok": "green", "warning": "yellow", "problem": "red"}


def doctor(root: Root = None, as_json: Json = False, quiet: Quiet = False) -> None:
    """Check settings, store, queue, Prefect server, workers, models, accelerator, disk and clock.

    Each finding says what is so, and what to do about it. Exits with 1 if
    anything is a problem. What is written to the store for this is deleted.

    Examples:
      segmill doctor

      segmill doctor --root s3://bucket/prefix --json
    """
    found = []
    for item in _findings(root):
        found.append(item)
        if not as_json and not (quiet and item.state == "ok"):
            _print(item)
    problems = sum(item.state == "problem" for item in found)
    warnings = sum(item.state == "warning" for item in found)
    if as_json:
        print_json(
            {
                "problems": problems,
                "warnings": warnings,
                "findings": [asdict(item) for item in found],
            }
        )
    else:
        say(f"{plural(problems, 'problem')}, {plural(warnings, 'warning')}", quiet)
    if problems:
        raise typer.Exit(FINDINGS)


def _findings(root: str | None) -> "Iterator[Finding]":
    """Everything, one after the other, so that a slow check does not hide the quick ones."""
    from app.health.machine import (
        check_accelerator,
        check_clock,
        check_disk,
        check_versions,
        scratch_folders,
    )
    from app.health.model_references import check_models
    from app.health.queue import check_queue
    from app.health.server import check_server
    from app.health.setting_files import check_files
    from app.health.store import check_store
    from app.health.variables import check_variables

    variables, settings = check_variables(root)
    yield from variables
    yield from check_versions()
    store, store_clock = check_store(settings)
    yield from store
    yield from check_clock("the store", store_clock)
    yield from check_queue(settings)
    server, state = check_server()
    yield from server
    if state is not None:
        yield from check_clock("the Prefect server", state.date)
    store_works = all(finding.state != "problem" for finding in store)
    yield from check_models(settings, store_works)
    yield from check_files(settings)
    yield check_accelerator(settings.device)
    yield from check_disk(scratch_folders(settings.root))


def _print(item: "Finding") -> None:
    state = typer.style(f"{item.state:8}", fg=_COLORS[item.state])
    typer.echo(f"{state} {item.check:12} {item.found}")
    if item.do:
        typer.echo(f"{'':21} → {item.do}")
