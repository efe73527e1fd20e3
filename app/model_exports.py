"""segmill models export: weights for other programs."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

import typer

from app.options import DryRun, Json, Quiet, Root, print_json, say, settings_for


def export(
    model: Annotated[
        str,
        typer.Argument(
            help="Id of a registered model or its beginning, promoted, demo, file:PATH."
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="The file or folder to write.")],
    form: Annotated[
        Literal["sam2-pt", "hf"],
        typer.Option(
            "--format",
            help="sam2-pt: a checkpoint of the sam2 package; hf: a folder of transformers.",
        ),
    ] = "sam2-pt",
    root: Root = None,
    as_json: Json = False,
    quiet: Quiet = False,
    dry_run: DryRun = False,
) -> None:
    r"""Write a segmenter in the form that another program loads, and say how.

    Of hf, what only tracks videos is left out; it needs transformers 5.3 or
    newer: pip install 'segmill\[panoptic]'.

    Examples:
      segmill models export promoted --output live.pt

      segmill models export comic-7 --format hf --output comic-7
    """
    from tasks.export_model import export_model
    from tasks.model_facts import known_model_reference

    chosen = settings_for(root).root
    reference = known_model_reference(chosen, model)
    if dry_run:
        facts = {"reference": reference, "format": form, "output": str(output), "dry_run": True}
        if as_json:
            print_json(facts)
        else:
            say(f"{reference} would be written to {output}", quiet)
        return
    found = export_model(chosen, reference, form, output)
    if as_json:
        print_json(asdict(found) | {"dry_run": False})
    else:
        say(f"{found.model_id} in {found.output}\n  load it: {found.usage}", quiet)
