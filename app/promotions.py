"""segmill models promote and rollback: which model is live from the next run on."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.options import FINDINGS, DryRun, Json, Quiet, Root, print_json, say, settings_for

if TYPE_CHECKING:
    from storage.gate_decisions import GateDecision
    from storage.promotions import Promotion
    from tasks.promote_model import PromotionOutcome

Replacing = Annotated[
    str | None,
    typer.Option(metavar="ID", help="Only if this model is live; else nothing is changed."),
]
Note = Annotated[str | None, typer.Option(help="What to say of it in the record.")]


def promote(
    model: Annotated[str, typer.Argument(help="Id of a registered model, or its beginning.")],
    gate: Annotated[
        Path | None,
        typer.Option(
            help="Rules to ask. \\[default: $SEGMILL_GATE or configs/gate.yaml]", show_default=False
        ),
    ] = None,
    by_hand: Annotated[
        str | None,
        typer.Option(metavar="WHY", help="Do not ask the gate, and record this reason."),
    ] = None,
    evaluation: Annotated[
        str | None,
        typer.Option(
            metavar="ID",
            help="Measurement of the model. \\[default: the newest that can be compared]",
            show_default=False,
        ),
    ] = None,
    live_evaluation: Annotated[
        str | None, typer.Option(metavar="ID", help="Measurement of the live model, likewise.")
    ] = None,
    replacing: Replacing = None,
    note: Note = None,
    root: Root = None,
    as_json: Json = False,
    quiet: Quiet = False,
    dry_run: DryRun = False,
) -> None:
    """Make a registered model live, if it passes the gate.

    The gate compares measurements of the model and of the live one on the same
    images, by the rules of configs/gate.yaml. What it finds is recorded either
    way. Runs that are under way keep their model; the next ones use this one.

    Exits with 1 if the gate refuses, or another model became live meanwhile.

    Examples:
      segmill models promote comic-7 --dry-run

      segmill models promote comic-7

      segmill models promote comic-7 --by-hand "first fine-tuning, no measurements yet"
    """
    from tasks.gate_rules import GATE_FILE, load_gate
    from tasks.promote_model import promote_by_hand, promote_through_gate

    settings = settings_for(root)
    chosen = settings.root
    if by_hand is not None:
        if gate or evaluation or live_evaluation:
            raise typer.BadParameter("--by-hand does not ask the gate; leave --gate and the "
                                     "evaluations out")  # fmt: skip
        why = f"{by_hand}; {note}" if note else by_hand
        outcome = promote_by_hand(chosen, model, why, replacing=replacing, dry_run=dry_run)
    else:
        outcome = promote_through_gate(
            chosen,
            model,
            load_gate(gate or Path(settings.gate or GATE_FILE)),
            replacing=replacing,
            evaluation_id=evaluation,
            live_evaluation_id=live_evaluation,
            note=note,
            dry_run=dry_run,
        )
    report_outcome(outcome, as_json, quiet, dry_run)


def rollback(
    replacing: Replacing = None,
    note: Note = None,
    root: Root = None,
    as_json: Json = False,
    quiet: Quiet = False,
    dry_run: DryRun = False,
) -> None:
    """Make the model live again that was so before the present one.

    A second rollback goes further back, not forth again. With --replacing a
    repeated command goes back only once.

    Examples:
      segmill models rollback --dry-run

      segmill models rollback --note "bubbles are cut in two"
    """
    from tasks.promote_model import roll_back

    chosen = settings_for(root).root
    outcome = roll_back(chosen, replacing=replacing, note=note, dry_run=dry_run)
    report_outcome(outcome, as_json, quiet, dry_run)


def print_decision(decision: "GateDecision") -> None:
    """Print what each rule of the gate found, and its verdict."""
    for rule in decision.rules:
        state = typer.style(
            "ok     " if rule.passed else "refused", fg="green" if rule.passed else "red"
        )
        typer.echo(f"{state}  {rule.words}")


def report_outcome(
    outcome: "PromotionOutcome", as_json: bool, quiet: bool, dry_run: bool = False
) -> None:
    """Tell what became of a wish to make a model live, also the Prefect server.

    Raises:
        typer.Exit: With 1, if the gate refused.
    """
    if outcome.promotion is not None:
        tell_server(outcome.promotion, quiet)
    if as_json:
        told: dict[str, Any] = asdict(outcome)
        print_json(told | {"refused": outcome.refused, "dry_run": dry_run})
    else:
        if outcome.decision is not None and not quiet:
            print_decision(outcome.decision)
        say(_summary(outcome, dry_run), quiet)
    if outcome.refused:
        raise typer.Exit(FINDINGS)


def _summary(outcome: "PromotionOutcome", dry_run: bool) -> str:
    if outcome.promotion is not None:
        return (
            f"{outcome.live_id} is live from the next run on, in place of {outcome.previous_id} "
            f"(promotion {outcome.promotion.number}, {outcome.promotion.why.reason})"
        )
    if outcome.refused:
        would = "would stay" if dry_run else "stays"
        return f"the gate refuses {outcome.model_id}: {outcome.live_id} {would} live"
    if outcome.model_id == outcome.live_id:
        return f"{outcome.live_id} is live already; nothing was changed"
    return f"{outcome.model_id} would become live in place of {outcome.live_id}"


def tell_server(promotion: "Promotion", quiet: bool) -> None:
    """Say model.promoted, where there is a server; that it is live does not depend on it."""
    from app.prefect_side import ServerError, require_server, server_url

    if server_url() is None:
        return
    from flows.events import MODEL_PROMOTED, emit_promotion

    try:
        require_server()  # the event goes out in the background, where nobody sees it fail
    except ServerError as error:
        say(f"{MODEL_PROMOTED} was not said: {error}", quiet)
    else:
        emit_promotion(promotion)
