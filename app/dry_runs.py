"""What --dry-run says: the work that would be done, how large it is, and how long it may take."""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import typer

from app.options import plural, print_json

if TYPE_CHECKING:
    from flows.requests import ModelRequest
    from flows.running import InProcess
    from storage.settings import Settings
    from tasks.plan_ingest import IngestPlan

_SHOWN = 20


def plan_drops(
    settings: "Settings", dataset: str, source: str | None, run: "InProcess"
) -> "list[IngestPlan]":
    """Plan the drop that was named, or every complete one in the inbox."""
    from tasks.drops import find_drops, place_of
    from tasks.plan_ingest import plan_ingest

    if source is not None:
        places = [place_of(source, dataset)]
    else:
        places = find_drops.fn(settings.root, dataset, settings.drop_quiet_seconds)
    with run.stage("check"):
        return [
            plan_ingest(
                place,
                max_image_px=settings.max_image_px,
                max_image_bytes=settings.max_image_bytes,
                max_json_bytes=settings.max_json_bytes,
                gpu_seconds_per_image=settings.gpu_seconds_per_image,
                progress=run.progress,
            )
            for place in places
        ]


def pending_images(settings: "Settings", request: "ModelRequest") -> list[str]:
    """File names of the images that `segment` would work on."""
    from tasks.models import choose_models
    from tasks.pending_images import list_pending_images

    choice = choose_models.fn(**request.models(settings))
    batches = list_pending_images.fn(settings.root, request.dataset, choice, settings.batch_images)
    return [image.file_name for batch in batches for image in batch]


def show_plan(plan: "dict[str, list[IngestPlan] | list[str]]", as_json: bool) -> None:
    """Print what would be done; as one JSON object where that was asked for."""
    if as_json:
        told = {
            kind: [item if isinstance(item, str) else asdict(item) for item in items]
            for kind, items in plan.items()
        }
        print_json(told | {"at": datetime.now(UTC).isoformat()})
        return
    for kind, items in plan.items():
        typer.echo(f"{kind} to do: {len(items):,}")
        for item in items[:_SHOWN]:
            typer.echo(f"  {item if isinstance(item, str) else _line(item)}")
        if len(items) > _SHOWN:
            typer.echo(f"  and {len(items) - _SHOWN:,} more")
    drops = [item for item in plan.get("drops", ()) if not isinstance(item, str)]
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


def _line(plan: "IngestPlan") -> str:
    if plan.rejected:
        return f"{plan.source}: would be refused; segmill check {plan.source} says why"
    return (
        f"{plan.source}: {plural(plan.files, 'file')}, {plural(plan.images, 'image')} "
        f"({plan.images_mb:.1f} MB), {plural(plan.masks, 'mask')} ({plan.masks_mb:.1f} MB), "
        f"{plan.quarantined} in quarantine"
    )
