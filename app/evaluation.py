"""segmill evaluate: how good a model is, on images that it was not trained on."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.checks import existing_source
from app.options import (
    Dataset,
    DryRun,
    Json,
    Model,
    Quiet,
    Root,
    answer_console,
    plural,
    print_json,
    say,
    settings_for,
)

if TYPE_CHECKING:
    from flows.requests import EvaluateRequest
    from storage.settings import Settings
    from tasks.evaluate_model import EvaluationPlan, EvaluationSummary
    from tasks.frozen_set import FrozenSet
    from tasks.report.data import Progress

_SHORT_ID = 12
_SHOWN = 5


def evaluate(
    model: Model = None,
    dataset: Dataset = "default",
    split: Annotated[
        str | None,
        typer.Option(
            help="Which held-back images. \\[default: test, or val where test has nothing]",
            show_default=False,
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            metavar="FOLDER",
            help="Images with COCO JSON instead of a dataset; nothing is stored.",
            callback=existing_source,
        ),
    ] = None,
    max_images: Annotated[
        int | None, typer.Option(min=1, help="At most so many, the same ones for each model.")
    ] = None,
    automatic: Annotated[
        bool,
        typer.Option(
            "--automatic/--no-automatic",
            help="Also look at the masks that the model finds by itself; the gate wants them.",
        ),
    ] = True,
    again: Annotated[
        bool, typer.Option("--again", help="Measure also what was measured before.")
    ] = False,
    pictures: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Draw the images with the lowest mIoU to it."),
    ] = None,
    root: Root = None,
    as_json: Json = False,
    quiet: Quiet = False,
    dry_run: DryRun = False,
) -> None:
    """Measure a model on the images of a dataset that are held back from training.

    Its answers to clicks and boxes are compared with annotations and with what
    people accepted, and so are the masks that it finds by itself. All models are
    asked alike; what was measured before is found again. Measure a candidate and
    the live model, and segmill models compare and promote know which is better.

    Examples:
      segmill evaluate --dataset mine

      segmill evaluate --model model:comic-7 --dataset mine --pictures worst/

      segmill evaluate --model demo --data photos/ --no-automatic --json
    """
    from flows.requests import EvaluateRequest
    from tasks.live_model import resolve_reference

    if data is not None and (again or dataset != "default"):
        raise typer.BadParameter(
            "--data measures a folder, of no dataset, and finds nothing of before: leave out "
            + ("--again" if again else "--dataset")
        )
    settings = settings_for(root)
    # Once: the live model may become another one before the pictures are drawn.
    resolved = resolve_reference(model or settings.model, settings.root)
    request = EvaluateRequest(
        dataset=dataset, model=resolved.reference, split=split, max_images=max_images,
        automatic=automatic, again=again,
    )  # fmt: skip
    if data is not None:
        _evaluate_folder(data, request, settings, pictures, as_json, quiet, dry_run)
    else:
        _evaluate_dataset(request, settings, pictures, as_json, quiet, dry_run)


def _evaluate_dataset(
    request: "EvaluateRequest",
    settings: "Settings",
    pictures: Path | None,
    as_json: bool,
    quiet: bool,
    dry_run: bool,
) -> None:
    from app.terminal import stage_progress
    from flows.evaluate import run_evaluate
    from flows.running import InProcess
    from tasks.evaluate_model import plan_evaluation
    from tasks.evaluation_pictures import draw_worst
    from tasks.frozen_set import frozen_split, held_out_split

    root, reference = settings.root, request.model or settings.model
    if dry_run:
        split = request.split or held_out_split.fn(root, request.dataset)
        with frozen_split(root, request.dataset, split, request.max_images) as frozen:
            plan = plan_evaluation(root, reference, frozen, automatic=request.automatic)
        _show_plan(plan, frozen, as_json, request.again)
        return
    with stage_progress(quiet=quiet or as_json) as progress:
        summary = run_evaluate(request, settings, InProcess(progress))
        drawn: list[Path] = []
        if pictures is not None:
            drawn = draw_worst(
                root,
                summary,
                pictures,
                reference=reference,
                max_images=request.max_images,
                device=settings.device,
                progress=progress,
            )
    _report(summary, drawn, as_json, quiet)


def _evaluate_folder(
    data: str,
    request: "EvaluateRequest",
    settings: "Settings",
    pictures: Path | None,
    as_json: bool,
    quiet: bool,
    dry_run: bool,
) -> None:
    from app.terminal import stage_progress
    from tasks.evaluate_model import evaluate_folder, plan_evaluation
    from tasks.frozen_folder import freeze_folder

    root, reference = settings.root, request.model or settings.model
    with stage_progress(quiet=quiet or as_json) as progress:
        frozen, findings = freeze_folder(
            data,
            settings,
            split=request.split,
            max_images=request.max_images,
            progress=progress,
        )
        if findings:
            say(
                f"{plural(findings, 'finding')} in {data}, left out; segmill check says what", quiet
            )
        if dry_run:
            plan = plan_evaluation(
                root, reference, frozen, automatic=request.automatic, look_back=False
            )
            _show_plan(plan, frozen, as_json, request.again)
            return
        summary = evaluate_folder(
            root,
            reference,
            frozen,
            device=settings.device,
            automatic=request.automatic,
            progress=progress,
        )
        drawn = _draw(root, frozen, summary, pictures, reference, progress) if pictures else []
    _report(summary, drawn, as_json, quiet)


def _show_plan(plan: "EvaluationPlan", frozen: "FrozenSet", as_json: bool, again: bool) -> None:
    stored = plan.stored
    told: dict[str, Any] = {
        "model_id": plan.model.model_id,
        "dataset": frozen.dataset,
        "split": frozen.split,
        "images": plan.images,
        "objects": plan.objects,
        "groups": plan.groups,
        "params_id": plan.params_id,
        "set_id": plan.set_id,
        "measured_before": stored.evaluation_id if stored else None,
        "dry_run": True,
    }
    if as_json:
        print_json(told)
        return
    before = "" if stored is None else f"; measured before ({stored.evaluation_id[:_SHORT_ID]})"
    after = ", and would be again" if stored and again else ""
    typer.echo(
        f"{plan.model.model_id} would be measured on {plural(plan.objects, 'object')} of "
        f"{plural(plan.images, 'image')} of {_place(frozen.dataset, frozen.split)}, in "
        f"{plural(plan.groups, 'group')} of images that look alike{before}{after}"
    )


def _report(summary: "EvaluationSummary", drawn: list[Path], as_json: bool, quiet: bool) -> None:
    if as_json:
        print_json(asdict(summary) | {"pictures": [str(path) for path in drawn]})
        return
    from app.terminal import print_table
    from flows.summaries import evaluation_rows

    rows = [
        [row["metric"], f"{row['value']:.4f}", "" if (o := row["oracle"]) is None else f"{o:.4f}"]
        for row in evaluation_rows(summary)
    ]
    print_table(("metric", "value", "best of three"), rows, answer_console())
    verb = "was measured before" if summary.reused else "was measured"
    where = (
        "nothing was stored"
        if summary.evaluation_id is None
        else f"evaluation {summary.evaluation_id[:_SHORT_ID]}"
    )
    say(
        f"{summary.model_id} {verb} on {plural(summary.objects, 'object')} of "
        f"{plural(summary.images, 'image')} of {_place(summary.dataset, summary.split)}: {where}",
        quiet,
    )
    if summary.skipped:
        say(f"not readable: {_some(summary.skipped)}", quiet)
    say(
        "worst: " + _some([f"{each.file_name} {each.miou:.3f}" for each in summary.worst]),
        quiet,
    )
    if drawn:
        say(f"pictures: {drawn[0]} and {plural(len(drawn) - 1, 'other')} beside it", quiet)


def _draw(
    root: str,
    frozen: "FrozenSet",
    summary: "EvaluationSummary",
    pictures: Path,
    reference: str,
    progress: "Progress",
) -> list[Path]:
    from tasks.evaluation_pictures import draw_worst_of

    return draw_worst_of(
        root, frozen, summary.worst, pictures, reference=reference, progress=progress
    )


def _place(dataset: str, split: str) -> str:
    return f"{dataset}/{split}" if split else dataset


def _some(names: list[str]) -> str:
    more = f", and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
