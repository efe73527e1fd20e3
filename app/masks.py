"""segmill masks: one COCO file to mask PNGs, with nothing around it."""

import os
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

import typer

from app.options import FINDINGS, Json, Quiet, answer_console, plural, print_json, say


def masks(
    document: Annotated[
        Path, typer.Argument(exists=True, dir_okay=False, help="A COCO JSON file.")
    ],
    output: Annotated[
        Path,
        typer.Option("--output", "-o", help="Folder to write, new or empty.", show_default=False),
    ],
    bit_depth: Annotated[
        Literal["1", "8"],
        typer.Option(help="Bits of a pixel: 1, or 8 for readers that need bytes 0 and 255."),
    ] = "1",
    processes: Annotated[
        int | None, typer.Option(min=1, help="How many work at once.", show_default="all cores")
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", help="Show every finding, not the first three of each rule.")
    ] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write each annotation of a COCO file as a mask PNG; exit 1 if some have no mask.

    No images are needed and nothing is stored. The files are called
    IMAGE_ANNOTATION.png, after their ids; the masks are those of pycocotools.

    Examples:
      segmill masks instances_val2017.json -o masks/

      segmill masks annotations.json -o masks/ --bit-depth 8
    """
    from app.terminal import print_findings, stage_progress
    from tasks.convert_masks import convert_masks

    with stage_progress(quiet=quiet or as_json) as progress:
        result = convert_masks(
            document,
            output,
            processes=processes or _cores(),
            bit_depth=8 if bit_depth == "8" else 1,
            progress=progress,
        )
    if as_json:
        print_json(
            {
                "written": result.written,
                "rejected": result.rejected,
                "findings": [asdict(finding) for finding in result.findings],
            }
        )
    else:
        if result.findings:
            print_findings(result.findings, answer_console(), every)
        say(
            f"{plural(result.written, 'mask')} in {output}, "
            f"{plural(len(result.findings), 'finding')}",
            quiet,
        )
    if result.findings:
        raise typer.Exit(FINDINGS)


def _cores() -> int:
    # macOS does not tell which cores are ours.
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1
