"""segmill check: what ingesting a drop would say, without writing anything."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from app.options import FINDINGS, Json, Quiet, answer_console, plural, print_json, say, settings_for
from storage.addresses import require_plain


def existing_source(source: str | None) -> str | None:
    """Check that a drop on this machine is there, before anything is opened or written.

    Raises:
        typer.BadParameter: If it is a path that leads to nothing.
        SecretInAddressError: If it is an address with a password in it.
    """
    require_plain(source, "SOURCE")
    if source and "://" not in source and not Path(source).exists():
        raise typer.BadParameter(f"no such file or folder: {source}")
    return source


def check(
    source: Annotated[
        str,
        typer.Argument(
            help="A folder, an image, or s3://bucket/prefix that is one drop.",
            callback=existing_source,
        ),
    ],
    every: Annotated[
        bool, typer.Option("--all", help="Show every finding, not the first three of each rule.")
    ] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Check the images and COCO documents of a drop; exit 1 if anything is wrong.

    Examples:
      segmill check photos/

      segmill check photos/ --all

      segmill check photos/ --json
    """
    from app.terminal import print_findings, stage_progress
    from tasks.check_drop import check_drop
    from tasks.drops import place_of
    from tasks.seal_drops import read_drop

    settings = settings_for(None)
    with stage_progress(quiet=quiet or as_json) as progress:
        content = check_drop(
            read_drop(place_of(source, "default"), progress),
            max_image_px=settings.max_image_px,
            max_image_bytes=settings.max_image_bytes,
            max_json_bytes=settings.max_json_bytes,
            progress=progress,
        )
    if as_json:
        print_json(
            {
                "images": len(content.images),
                "annotations": len(content.annotations),
                "rejected": content.rejected,
                "findings": [asdict(finding) for finding in content.findings],
                "notes": [asdict(note) for note in content.notes],
            }
        )
    else:
        found = [*content.findings, *content.notes]
        if found:
            print_findings(found, answer_console(), every)
        say(
            f"{plural(len(content.images), 'good image')}, "
            f"{plural(len(content.annotations), 'good annotation')}, "
            f"{plural(len(content.findings), 'finding')}, {plural(len(content.notes), 'note')}",
            quiet,
        )
    if content.findings:
        raise typer.Exit(FINDINGS)
