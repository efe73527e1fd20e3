"""segmill retract: take back what a model, a drop or a run brought."""

import sys
from dataclasses import fields
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.options import FINDINGS, DryRun, Json, Quiet, Root, plural, print_json, say, settings_for

if TYPE_CHECKING:
    from storage.retraction import Kind, RetractionPlan


def retract(
    model: Annotated[
        str | None, typer.Option(help="Id of a model, as in segments.model_id.")
    ] = None,
    drop: Annotated[
        str | None, typer.Option(help="Id or place of a drop, as in the table drops.")
    ] = None,
    run: Annotated[str | None, typer.Option(help="Id of a run, as in units.run_id.")] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    root: Root = None,
    as_json: Json = False,
    quiet: Quiet = False,
    dry_run: DryRun = False,
) -> None:
    """Take back what a model, a drop or a run brought, and what was made of it.

    Readers see all of it or nothing. The same work can be done again
    afterwards: a drop that still lies in the inbox is ingested the next night.
    Objects (images, mask PNGs, reports) and reviews stay. Stop runs that are
    under way: what they finish later stays.

    Examples:
      segmill retract --model sam2-0123456789ab --dry-run

      segmill retract --drop inbox/monday/ --yes
    """
    from storage.lake import Lake
    from storage.retraction import plan_retraction
    from storage.retraction import retract as carry_out

    kind, name = _chosen(model, drop, run)
    lake = Lake.open(settings_for(root).root)
    plan = plan_retraction(lake, kind, name)
    if not as_json:
        _show(plan, quiet)
    removed: dict[str, int] = {}
    if not dry_run:
        if not yes:
            _ask()
        removed = carry_out(lake, plan)
    if as_json:
        print_json(_facts(plan) | {"removed": removed, "dry_run": dry_run})
    else:
        done = ", ".join(f"{rows:,} of {table}" for table, rows in removed.items())
        say("nothing was changed" if dry_run else f"removed rows: {done or 'none'}", quiet)


def _chosen(model: str | None, drop: str | None, run: str | None) -> "tuple[Kind, str]":
    given: list[tuple[Kind, str]] = []
    if model is not None:
        given.append(("model", model))
    if drop is not None:
        given.append(("drop", drop))
    if run is not None:
        given.append(("run", run))
    if len(given) != 1:
        raise typer.BadParameter(
            f"expected one of --model, --drop and --run, but got {len(given)} of them"
        )
    return given[0]


def _ask() -> None:
    if not _is_terminal():
        raise typer.BadParameter("expected --yes where there is no terminal to ask at")
    if not typer.confirm("Remove these rows?", err=True):
        say("nothing was changed")
        raise typer.Exit(FINDINGS)


def _is_terminal() -> bool:
    return sys.stdin.isatty()


def _show(plan: "RetractionPlan", quiet: bool) -> None:
    units = ", ".join(f"{count:,} of {stage}" for stage, count in plan.units.items())
    say(f"{plan.kind} {plan.name}: units {units or 'none'}", quiet)
    for table, rows in plan.rows.items():
        say(f"  {table}: {plural(rows, 'row')}", quiet)
    if plan.images:
        say(f"  {plural(plan.images, 'image')} that no other drop brings", quiet)
    if plan.datasets:
        say(f"  datasets: {', '.join(plan.datasets)}", quiet)
    if plan.begun:
        say(f"  and what {plural(plan.begun, 'unit')} stored that no reader sees yet", quiet)
    if plan.leftovers:
        say(f"  and the rows of {plural(plan.leftovers, 'unit')} withdrawn before", quiet)


def _facts(plan: "RetractionPlan") -> dict[str, Any]:
    hidden = {"unit_ids", "remainders", "version"}
    names = [item.name for item in fields(plan) if item.name not in hidden]
    return {name: getattr(plan, name) for name in names}
