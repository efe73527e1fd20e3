"""segmill train: fine-tune SAM 2 on what is curated, or on a folder."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.options import (
    FINDINGS,
    DryRun,
    Json,
    Quiet,
    Root,
    plural,
    print_json,
    say,
    settings_for,
)

if TYPE_CHECKING:
    from flows.requests import FinetuneRequest
    from storage.settings import Settings
    from tasks.plan_training import TrainingPlan
    from tasks.report.data import Progress
    from tasks.train_model import TrainingSummary
    from vision.finetune import TrainConfig
    from vision.finetune.training import StepReport

_MOST_PROBLEMS = 10


def train(
    config: Annotated[
        Path | None,
        typer.Option(
            help="Settings. \\[default: $SEGMILL_TRAIN_CONFIG or configs/train.yaml]",
            show_default=False,
            exists=True,
            dir_okay=False,
        ),
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="One setting; can be given several times."),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(help="Train on a folder with COCO JSON, and keep out of the tables."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            help="With --data: where the model goes. \\[default: trained]", show_default=False
        ),
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option(
            help="The dataset the images belong to. \\[default: default]", show_default=False
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="What to begin with: promoted, model:ID, demo, file:PATH or hub:ORG/NAME. "
            "\\[default: model.base of the settings]",
            show_default=False,
        ),
    ] = None,
    promote: Annotated[
        bool, typer.Option("--promote", help="Measure it and the live model, and ask the gate.")
    ] = False,
    gate: Annotated[
        str | None,
        typer.Option(
            help="Rules to ask. \\[default: $SEGMILL_GATE or configs/gate.yaml]", show_default=False
        ),
    ] = None,
    root: Root = None,
    as_json: Json = False,
    quiet: Quiet = False,
    dry_run: DryRun = False,
) -> None:
    """Fine-tune SAM 2 on the curated masks of a dataset, or on a folder.

    Images that are held back (split val or test) are never trained on. A training
    that was cut off goes on from its last checkpoint when the same command is run
    again. What it makes is registered: `segmill models list`. With --promote it
    becomes live if the gate finds it better than the live model.

    Exits with 1 if the gate refuses.

    Examples:
      segmill train --dataset mine --dry-run

      segmill train --dataset mine --set limits.minutes=30 --promote

      segmill train --data pages/ --model demo --output trained
    """  # fmt: skip
    from flows.requests import FinetuneRequest
    from tasks.plan_training import read_train_config

    settings = settings_for(root)
    file = str(config) if config else settings.train_config
    chosen = read_train_config.fn(file, overrides or (), model)
    if data is None and output is not None:
        raise typer.BadParameter("--output is of --data; a dataset's model is registered")
    if data is not None:
        if dataset is not None:
            raise typer.BadParameter("--dataset is of the tables; leave out --data, or this")
        if promote or gate:
            raise typer.BadParameter("--promote measures images of the tables; leave out --data")
        _train_on_folder(chosen, data, output or Path("trained"), settings, as_json, quiet, dry_run)
        return
    if gate and not promote:
        raise typer.BadParameter("--gate is of --promote")
    request = FinetuneRequest(
        dataset="default" if dataset is None else dataset,
        model=model,
        config=file,
        overrides=tuple(overrides or ()),
        gate=gate,
    )
    if dry_run:
        _show_plan(chosen, request, settings, as_json, quiet)
    elif promote:
        _train_and_ask(request, settings, as_json, quiet)
    else:
        _train(chosen, request, settings, as_json, quiet)


def _show_plan(
    config: "TrainConfig", request: "FinetuneRequest", settings: "Settings",
    as_json: bool, quiet: bool,
) -> None:  # fmt: skip
    from tasks.plan_training import plan_training

    plan = plan_training.fn(request.dataset, config, settings, write=False)
    if as_json:
        print_json(
            {
                "training_run_id": plan.training_run_id,
                "base_model_id": plan.base_model_id,
                "images": plan.images,
                "masks": plan.masks,
                "labels": plan.labels,
                "folder": str(plan.folder),
                "dry_run": True,
            }
        )
        return
    say(_about(plan), quiet)
    for label, count in sorted(plan.labels.items()):
        say(f"  {label} {count:,}", quiet)
    say(f"checkpoints would be in {plan.folder}", quiet)


def _train(
    config: "TrainConfig", request: "FinetuneRequest", settings: "Settings",
    as_json: bool, quiet: bool,
) -> None:  # fmt: skip
    from app.terminal import stage_progress
    from flows.running import InProcess
    from tasks.plan_training import plan_training
    from tasks.train_model import train_model

    with stage_progress(quiet=quiet or as_json) as progress:
        run = InProcess(progress)
        plan = run.call(plan_training, request.dataset, config, settings)
        say(_about(plan), quiet or as_json)
        done = run.call(train_model, plan, run_id=run.run_id, progress=progress)
    if as_json:
        print_json(asdict(done))
        return
    _tell(done, quiet)
    say(f"next: segmill evaluate --model model:{done.model_id} --dataset {request.dataset}", quiet)


def _train_and_ask(
    request: "FinetuneRequest", settings: "Settings", as_json: bool, quiet: bool
) -> None:
    from app.promotions import report_outcome, tell_server
    from app.terminal import stage_progress
    from flows.finetune import run_finetune
    from flows.running import InProcess

    with stage_progress(quiet=quiet or as_json) as progress:
        summary = run_finetune(request, settings, InProcess(progress))
    assert summary.training is not None and summary.outcome is not None  # no other run took it
    if as_json:
        if summary.outcome.promotion is not None:
            tell_server(summary.outcome.promotion, quiet)
        print_json(summary.model_dump(mode="json"))
        if summary.outcome.refused:
            raise typer.Exit(FINDINGS)
        return
    _tell(summary.training, quiet)
    report_outcome(summary.outcome, as_json, quiet)


def _about(plan: "TrainingPlan") -> str:
    return (
        f"{plan.base_model_id} learns from {plural(plan.masks, 'mask')} on "
        f"{plural(plan.images, 'image')} (training {plan.training_run_id[:16]})"
    )


def _tell(done: "TrainingSummary", quiet: bool) -> None:
    for line in _lines(done.steps, done.seconds, done.ending, done.start_miou, done.best_miou):
        say(line, quiet)
    for image_id, why in list(done.skipped.items())[:_MOST_PROBLEMS]:
        say(f"  left out: {image_id}: {why}", quiet)
    if (more := done.skipped_count - _MOST_PROBLEMS) > 0:
        say(f"  left out: {more:,} more", quiet)
    for note in done.notes:
        say(f"  note: {note}", quiet)
    say(f"registered as {done.model_id}, from {done.base_model_id}; pictures in {done.folder}",
        quiet)  # fmt: skip


def _lines(
    steps: int, seconds: float, ending: str, before: float | None, after: float | None
) -> list[str]:
    lines = [f"{plural(steps, 'step')} in {seconds:,.0f} s: {ending}"]
    if before is not None and after is not None:
        lines.append(f"1-click mIoU on its own validation images: {before:.4f} → {after:.4f}")
    return lines


def _train_on_folder(
    config: "TrainConfig", data: Path, output: Path, settings: "Settings",
    as_json: bool, quiet: bool, dry_run: bool,
) -> None:  # fmt: skip
    from app.terminal import stage_progress
    from tasks.live_model import local_reference, resolve_reference
    from vision.finetune import read_folder

    found = read_folder(data)
    base = resolve_reference(config.model.base, settings.root)
    for problem in found.problems[:_MOST_PROBLEMS]:
        say(f"  left out: {problem}", quiet)
    if more := found.problems[_MOST_PROBLEMS:]:
        say(f"  left out: {len(more):,} more", quiet)
    masks = sum(len(image.rles) for image in found.images)
    say(f"{base.model_id} learns from {plural(masks, 'mask')} on "
        f"{plural(len(found.images), 'image')}", quiet)  # fmt: skip
    if dry_run:
        if as_json:
            print_json({"images": len(found.images), "masks": masks, "base": base.model_id,
                        "problems": found.problems, "dry_run": True})  # fmt: skip
        return
    from vision.finetune.run import finetune  # torch takes seconds to import

    local = config.model.model_copy(update={"base": local_reference(base.reference, settings.root)})
    with stage_progress(quiet=quiet or as_json) as progress:
        done = finetune(
            config.model_copy(update={"model": local}),
            found.images,
            output,
            on_step=_shown(progress),
        )
    if as_json:
        print_json({"model": f"file:{done.weights}", "steps": done.steps, "ending": done.ending,
                    "seconds": done.seconds, "start_miou": done.start_miou,
                    "best_miou": done.best_miou, "skipped": done.skipped,
                    "notes": done.notes})  # fmt: skip
        return
    for line in _lines(done.steps, done.seconds, done.ending, done.start_miou, done.best_miou):
        say(line, quiet)
    for note in done.notes:
        say(f"  note: {note}", quiet)
    say(f"next: segmill models register file:{done.weights}", quiet)


def _shown(progress: "Progress") -> Callable[["StepReport"], None]:
    from tasks.train_model import step_detail

    return lambda report: progress("train", report.step, report.steps, step_detail(report))
