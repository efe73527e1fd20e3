"""segmill models show and compare: what is known of a model, and of two side by side."""

from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.options import Json, Root, answer_console, plural, print_json, settings_for
from app.promotions import print_decision

if TYPE_CHECKING:
    from storage.evaluations import Evaluation
    from tasks.model_facts import ModelComparison, ModelFacts

_SHORT_ID = 12


def show(
    model: Annotated[
        str, typer.Argument(help="Id of a registered model or its beginning, or promoted.")
    ] = "promoted",
    root: Root = None,
    as_json: Json = False,
) -> None:
    """Show what is known of a model: files, parents, measurements, decisions, promotions.

    Without MODEL it is the live one.

    Examples:
      segmill models show

      segmill models show comic-7 --json
    """
    from tasks.live_model import PROMOTED, live_model
    from tasks.model_facts import model_facts

    chosen = settings_for(root).root
    live = live_model(chosen)
    if model == PROMOTED and live.promotion is None:
        if as_json:
            print_json({"model_id": live.model_id, "live": True, "promotions": []})
        else:
            typer.echo(f"{live.model_id} is live from the beginning: no model was promoted yet")
        return
    facts = model_facts(chosen, live.model_id if model == PROMOTED else model)
    is_live = facts.model.model_id == live.model_id
    if as_json:
        print_json(_as_json(facts) | {"live": is_live})
        return
    for name, line in _lines(facts, is_live):
        typer.echo(f"{typer.style(f'{name:11}', bold=True)} {line}")


def compare(
    model: Annotated[str, typer.Argument(help="Id of a registered model or its beginning.")],
    other: Annotated[str, typer.Argument(help="Another one, promoted or demo.")] = "promoted",
    gate: Annotated[
        Path | None,
        typer.Option(help="Rules to ask. \\[default: configs/gate.yaml]", show_default=False),
    ] = None,
    root: Root = None,
    as_json: Json = False,
) -> None:
    """Compare measurements of two models on the same images, and say what the gate would.

    The difference of two numbers has a confidence interval: where it holds 0,
    it may be luck with the images. Nothing is recorded.

    Examples:
      segmill models compare comic-7

      segmill models compare comic-7 comic-6 --json
    """
    from tasks.gate_rules import GATE_FILE, load_gate
    from tasks.model_facts import compare_models

    found = compare_models(settings_for(root).root, model, other, load_gate(gate or GATE_FILE))
    if as_json:
        print_json(
            {
                "first": _evaluation(found.first),
                "second": _evaluation(found.second),
                "metrics": [asdict(metric) for metric in found.metrics],
                "gate": asdict(found.decision),
            }
        )
        return
    from app.terminal import print_table

    columns = ("metric", found.first.model_id, found.second.model_id, "difference", "interval")
    print_table(columns, _rows(found), answer_console())
    typer.echo(
        f"on {plural(found.first.images, 'image')} of {found.first.dataset}/{found.first.split}"
    )
    print_decision(found.decision)
    typer.echo(f"the gate would {found.decision.verdict} {found.first.model_id}")


def _rows(found: "ModelComparison") -> list[list[str]]:
    rows = []
    for metric in found.metrics:
        change = metric.difference
        rows.append(
            [
                metric.metric,
                f"{metric.first:.4g}",
                f"{metric.second:.4g}",
                f"{change.mean_difference:+.4f}"
                if change
                else f"{metric.first - metric.second:+.4f}",
                f"{change.low:+.4f} to {change.high:+.4f}" if change else "not known",
            ]
        )
    return rows


def _as_json(facts: "ModelFacts") -> dict[str, Any]:
    told = asdict(facts.model)
    told["files"] = {name: asdict(each) for name, each in facts.files.items()}
    told["config"] = facts.config
    told["evaluations"] = [_evaluation(each) for each in facts.evaluations]
    told["decisions"] = [asdict(each) for each in facts.decisions]
    told["promotions"] = [asdict(each) for each in facts.promotions]
    told["children"] = list(facts.children)
    return told


def _evaluation(evaluation: "Evaluation") -> dict[str, Any]:
    """A measurement without the values of single images."""
    told = {name: value for name, value in vars(evaluation).items() if name != "metrics"}
    told["metrics"] = {name: metric.value for name, metric in evaluation.metrics.items()}
    return told


def _lines(facts: "ModelFacts", is_live: bool) -> list[tuple[str, str]]:
    model = facts.model
    size = sum(each.size_bytes for each in facts.files.values())
    lines = [
        ("model", model.model_id + (", live" if is_live else "")),
        ("weights", f"sha256 {model.sha256}, {size / 2**20:.1f} MiB"),
        ("registered", f"{_time(model.registered_at)} from {model.source or 'an unknown place'}"),
        ("config", ", ".join(f"{name} {value}" for name, value in facts.config.items())),
        ("parent", model.parent_id or "none"),
    ]
    if model.training_run_id:
        lines.append(("training", model.training_run_id))
    if facts.children:
        lines.append(("children", ", ".join(facts.children)))
    for each in facts.evaluations:
        numbers = ", ".join(f"{name} {metric.value:.4g}" for name, metric in each.metrics.items())
        lines.append(
            (
                "measured",
                f"{_time(each.evaluated_at)} on {plural(each.images, 'image')} of "
                f"{each.dataset}/{each.split}: {numbers} ({each.evaluation_id[:_SHORT_ID]})",
            )
        )
    for decision in facts.decisions:
        against = [rule.words for rule in decision.rules if not rule.passed]
        because = f": {'; '.join(against)}" if against else ""
        lines.append(("gate", f"{decision.verdict} in place of {decision.live_id}{because}"))
    for promotion in facts.promotions:
        why = promotion.why
        lines.append(
            (
                "promoted",
                f"{_time(promotion.promoted_at)}, promotion {promotion.number} in place of "
                f"{promotion.previous_id}: {why.reason}{f', {why.note}' if why.note else ''}"
                f"{f', by {why.promoted_by}' if why.promoted_by else ''}",
            )
        )
    return lines


def _time(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"
