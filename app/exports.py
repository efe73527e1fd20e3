"""segmill export: take results out, in the forms other people work with."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

import typer

from app.dataset_exports import coco, coco_panoptic, comic, sa1b, yolo
from app.options import FINDINGS, AsOf, Json, Quiet, Root, plural, print_json, say, settings_for

export = typer.Typer(no_args_is_help=True, help="Take results out.")
export.command()(coco)
export.command("coco-panoptic")(coco_panoptic)
export.command()(comic)
export.command()(sa1b)
export.command()(yolo)


@export.command()
def crops(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to write to.")],
    label: Annotated[str | None, typer.Option(help="Only segments with this label.")] = None,
    min_score: Annotated[
        float, typer.Option(min=0, max=1, help="Only segments named at least this surely.")
    ] = 0.0,
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many crops.")] = None,
    background: Annotated[
        Literal["transparent", "white", "keep"], typer.Option(help="What is around the mask.")
    ] = "transparent",
    dataset: Annotated[str | None, typer.Option(help="Only this dataset.")] = None,
    as_of: AsOf = None,
    root: Root = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    r"""Cut every segment out: OUTPUT/LABEL/IMAGE/\[label]_\[id]_\[confidence].png.

    Exit 1 if images could not be read; their segments are left out.

    Examples:
      segmill export crops --output crops

      segmill export crops --output bubbles --label bubble --min-score 0.8 --background white
    """
    from app.terminal import stage_progress
    from storage.lake import Lake
    from storage.objects import open_store
    from storage.versions import versions_as_of
    from tasks.export_crops import export_crops

    settings = settings_for(root)
    lake = Lake.open(settings.root)
    with stage_progress(quiet=quiet or as_json) as progress:
        summary = export_crops(
            lake,
            open_store(settings.root),
            output,
            label=label,
            min_score=min_score,
            limit=limit,
            dataset=dataset,
            background=background,
            max_px=settings.max_image_px,
            versions=versions_as_of(lake, as_of or ()),
            progress=progress,
        )
    if as_json:
        print_json(asdict(summary))
    else:
        labels = ", ".join(f"{name} {count:,}" for name, count in summary.labels.items())
        say(f"{plural(summary.written, 'crop')} in {output}: {labels or 'none'}", quiet)
        if summary.unreadable_images:
            say(
                f"  {plural(summary.unreadable_images, 'image')} could not be read: gone from the "
                "store, broken, or larger than SEGMILL_MAX_IMAGE_PX",
                quiet,
            )
    if summary.unreadable_images:
        raise typer.Exit(FINDINGS)
