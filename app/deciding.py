"""Record what people decide about segments, and tell what became of it."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import typer

from app.options import FINDINGS, plural, print_json, say, settings_for

if TYPE_CHECKING:
    from storage.lake import Lake
    from storage.settings import Settings
    from tasks.review_decisions import Decision
    from tasks.reviews import ReviewResult

_SHOWN = 20


def decide(
    decision: str,
    names: list[str] | None,
    where: str | None,
    reviewer: str | None,
    based_on: int | None,
    root: str | None,
    as_json: bool,
    quiet: bool,
    dry_run: bool,
    *,
    label: str | None = None,
    labels: str | None = None,
    mask: Any = None,
) -> None:
    """Record one decision about some segments.

    Args:
        decision: `accept`, `reject`, `relabel`, `fix` or `reopen`.
        names: Ids of segments, or beginnings of them.
        where: SQL that they fulfil, in place of names.
        reviewer: Who decides; None takes the settings' or the machine's user.
        based_on: Version of the last decision that was seen; None takes what there is.
        root: Data root; None takes the settings'.
        as_json: Whether to print what became of it as JSON.
        quiet: Whether to print nothing else.
        dry_run: Whether to record nothing.
        label: The right label, to relabel.
        labels: The label set that it is of; None takes the settings'.
        mask: The right mask, to fix: bool, shape (height, width).

    Raises:
        typer.BadParameter: If there are both names and SQL, or neither.
        typer.Exit: If somebody decided about one of them meanwhile.
    """
    from uuid import uuid4

    from storage.lake import Lake
    from tasks.review_decisions import Decision

    settings = settings_for(root)
    decided_by = reviewer_name(reviewer, settings)
    decisions = [
        Decision(
            decision_id=str(uuid4()),
            segment_id=segment_id,
            decision=decision,
            reviewer=decided_by,
            label=label,
            mask=mask,
            based_on=based_on,
        )
        for segment_id in _chosen(Lake.open(settings.root), names, where)
    ]
    record(settings, decisions, labels, as_json, quiet, dry_run)


def _chosen(lake: "Lake", names: list[str] | None, where: str | None) -> list[str]:
    from tasks.choose_segments import segments_named, segments_where

    if bool(names) == (where is not None):
        found = "both" if names else "neither"
        raise typer.BadParameter(f"expected ids of segments or --where, but got {found}")
    return segments_named(lake, names) if names else segments_where(lake, where or "")


def reviewer_name(given: str | None, settings: "Settings") -> str:
    """Who decides: as given, as set, or the user of this machine.

    Raises:
        typer.BadParameter: If none of them has a name.
    """
    from getpass import getuser

    if name := given or settings.reviewer:
        return name
    try:
        return getuser()
    except (KeyError, OSError):
        raise typer.BadParameter(
            "expected --reviewer or SEGMILL_REVIEWER, for this machine's user has no name"
        ) from None


def record(
    settings: "Settings",
    decisions: "Sequence[Decision]",
    labels: str | None,
    as_json: bool,
    quiet: bool,
    dry_run: bool,
) -> None:
    """Record decisions, and print how many were new, known, or based on an older one.

    Args:
        settings: Of the machine.
        decisions: What was decided.
        labels: The label set that their labels are of; None takes the settings'.
        as_json: As `decide`.
        quiet: As `decide`.
        dry_run: As `decide`.

    Raises:
        typer.Exit: If somebody decided about one of them meanwhile.
    """
    from storage.lake import Lake
    from tasks.reviews import record_reviews
    from vision.clip import load_label_set

    names = load_label_set(labels or settings.labels).names
    results = record_reviews(Lake.open(settings.root), decisions, names, dry_run=dry_run)
    told = _by_outcome(results)
    if as_json:
        stale = [
            {"segment_id": result.decision.segment_id, "newest": _newest(result)}
            for result in told["stale"]
        ]
        counts = {name: len(told[name]) for name in ("recorded", "repeated")}
        print_json(counts | {"stale": stale, "dry_run": dry_run})
    else:
        for line in _lines(told, dry_run):
            say(line, quiet)
    if told["stale"]:
        raise typer.Exit(FINDINGS)


def _by_outcome(results: "Sequence[ReviewResult]") -> "dict[str, list[ReviewResult]]":
    return {
        outcome: [result for result in results if result.outcome == outcome]
        for outcome in ("recorded", "repeated", "stale")
    }


def _newest(result: "ReviewResult") -> dict[str, Any] | None:
    return None if result.newest is None else asdict(result.newest)


def _lines(told: "dict[str, list[ReviewResult]]", dry_run: bool) -> list[str]:
    if not any(told.values()):
        return ["no segment fits: nothing was recorded"]
    recorded = plural(len(told["recorded"]), "decision")
    lines = [f"would record {recorded}" if dry_run else f"recorded {recorded}"]
    if told["repeated"]:
        lines.append(f"  {plural(len(told['repeated']), 'segment')} had been decided so before")
    stale = told["stale"]
    for result in stale[:_SHOWN]:
        lines.append(
            f"  {result.decision.segment_id} was decided about meanwhile, and is left as it is: "
            f"{result.newest or 'reopened'}"
        )
    if len(stale) > _SHOWN:
        lines.append(f"  and {plural(len(stale) - _SHOWN, 'more such segment')}")
    return lines
