"""What --dry-run says: the work that would be done, how large it is, and how long it may take."""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import typer

from app.options import plural, print_json

if TYPE_CHECKING:
    from flows.requests import WorkRequest
    from flows.running import InProcess
    from storage.settings import Settings
    from tasks.device_budget import NightPlan
    from tasks.pending_images import PendingImage
    from tasks.plan_ingest import IngestPlan

_SHOWN = 20


def plan_drops(
    settings: "Settings", dataset: str, source: str | None, run: "InProcess"
) -> "list[IngestPlan]":
    """Plan the drop that was named, or every complete one in the inbox."""
    from tasks.drop_units import Limits
    from tasks.drops import find_drops, list_drop, place_of
    from tasks.plan_ingest import plan_ingest

    if source is not None:
        found = [list_drop(place_of(source, dataset))]
    else:
        found = find_drops.fn(
            settings.root, dataset, settings.drop_quiet_seconds, Limits.of(settings)
        )
    with run.stage("check"):
        return [
            plan_ingest(
                drop,
                max_image_px=settings.max_image_px,
                max_image_bytes=settings.max_image_bytes,
                max_json_bytes=settings.max_json_bytes,
                gpu_seconds_per_image=settings.gpu_seconds_per_image,
                progress=run.progress,
            )
            for drop in found
        ]


def plan_images(
    settings: "Settings", request: "WorkRequest", max_batches: int | None = None
) -> "NightPlan":
    """Plan which pending images `segment` would work on, and which it would leave."""
    from tasks.device_budget import measured_speed, plan_night
    from tasks.models import Compute, choose_models
    from tasks.pending_images import list_pending_images

    choice = choose_models.fn(**request.models(settings))
    batches = list_pending_images.fn(
        settings.root, request.dataset, choice, settings.batch_images, max_batches
    )
    budget_seconds = request.budget_seconds(settings)
    speed = None
    if budget_seconds is not None:
        device = Compute.of(settings).device_name()
        speed = measured_speed.fn(settings.root, choice, device)
    return plan_night(batches, budget_seconds, speed)


def show_plan(
    as_json: bool, drops: "list[IngestPlan] | None" = None, night: "NightPlan | None" = None
) -> None:
    """Print what would be done; as one JSON object where that was asked for.

    Args:
        as_json: Print JSON.
        drops: The drops that would be taken in.
        night: The images that would be segmented, and those that would be left.
    """
    if as_json:
        told: dict[str, Any] = {} if drops is None else {"drops": [asdict(drop) for drop in drops]}
        print_json(told | _night_facts(night) | {"at": datetime.now(UTC).isoformat()})
        return
    if drops is not None:
        _show("drops to do", [_line(drop) for drop in drops])
    if night is not None:
        _show("images to do", _names(night.tonight))
        if night.later:
            _show(f"images deferred, for {night.why_left(len(night.tonight))}", _names(night.later))
        if line := _expected(night):
            typer.echo(line)
    if drops:
        images = sum(drop.images for drop in drops)
        masks_mb = sum(drop.masks_mb for drop in drops)
        hours = sum(drop.gpu_hours for drop in drops)
        each_s = hours * 3600 / images if images else 0
        typer.echo(
            f"in all {plural(images, 'image')}, {masks_mb:.1f} MB of masks, and about "
            f"{hours:.2g} GPU hours to segment them, reckoned at {each_s:g} s an image "
            "(SEGMILL_GPU_SECONDS_PER_IMAGE)"
        )


def _show(heading: str, lines: list[str]) -> None:
    typer.echo(f"{heading}: {len(lines):,}")
    for line in lines[:_SHOWN]:
        typer.echo(f"  {line}")
    if len(lines) > _SHOWN:
        typer.echo(f"  and {len(lines) - _SHOWN:,} more")


def _names(batches: "list[list[PendingImage]]") -> list[str]:
    return [image.file_name for batch in batches for image in batch]


def _night_facts(night: "NightPlan | None") -> dict[str, Any]:
    if night is None:
        return {}
    return {
        "images": _names(night.tonight),
        "deferred": _names(night.later),
        "deferred_because": night.why_left(len(night.tonight)),
        "budget_seconds": night.budget_seconds,
        "expected_seconds": night.expected_seconds,
    }


def _expected(night: "NightPlan") -> str:
    """What is expected of a night with a budget."""
    if night.budget_seconds is None or not night.tonight:
        return ""
    from tasks.device_use import seconds_text

    budget = seconds_text(night.budget_seconds)
    if night.speed is None or night.expected_seconds is None:
        return (
            "no batch of this model and preset was measured on this device yet: batches begin "
            f"until the budget of {budget} is spent"
        )
    return (
        f"about {seconds_text(night.expected_seconds)} on {night.speed.device} of a budget of "
        f"{budget}, at {seconds_text(night.speed.seconds_per_image)} an image, the mean of the "
        f"last {plural(night.speed.units, 'batch', 'batches')}"
    )


def _line(plan: "IngestPlan") -> str:
    if plan.problem:
        return f"{plan.source}: would fail: {plan.problem}"
    if plan.rejected:
        return f"{plan.source}: would be refused; segmill check {plan.source} says why"
    return (
        f"{plan.source}: {plural(plan.files, 'file')}, {plural(plan.images, 'image')} "
        f"({plan.images_mb:.1f} MB), {plural(plan.masks, 'mask')} ({plan.masks_mb:.1f} MB), "
        f"{plan.quarantined} in quarantine"
    )
