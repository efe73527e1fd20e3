"""segmill models: which models there are."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from app.options import Json, Quiet, Root, answer_console, print_json, say, settings_for

models = typer.Typer(no_args_is_help=True, help="The models: which there are, which is live.")


@models.command("list")
def list_models(root: Root = None, as_json: Json = False) -> None:
    """List the models that ship with the engine and those of the data root.

    Examples:
      segmill models list
    """
    from storage.lake import Lake

    rows = [*_demo_models()]
    for row in Lake.open(settings_for(root).root).read("models").to_pylist():
        rows.append({"reference": row["prefix"], "kind": row["kind"], "model_id": row["model_id"]})
    if as_json:
        print_json({"models": rows})
        return
    from app.terminal import print_table

    columns = ("reference", "kind", "model_id")
    print_table(columns, [[row[name] for name in columns] for row in rows], answer_console())


@models.command()
def pull(
    reference: Annotated[
        str, typer.Argument(help="hub:ORG/NAME, hub:ORG/NAME@REVISION, https://... or file:PATH.")
    ],
    into: Annotated[
        Path,
        typer.Option("--into", help="Folder that gets a folder for the model."),
    ] = Path("~/.cache/segmill/models"),
    sha256: Annotated[
        str | None, typer.Option(help="What the fetched file must have; addresses need it.")
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Fetch a SAM 2 or CLIP once, as safetensors, and say what to call it.

    Of the Hugging Face hub, or of the mirror that HF_ENDPOINT names. A checkpoint is converted in
    a process of its own, and refused if it holds anything but tensors.

    Examples:
      segmill models pull hub:facebook/sam2.1-hiera-tiny

      segmill models pull https://example.org/sam2.pt --sha256 65b5...
    """
    from app.terminal import stage_progress
    from tasks.pull_model import pull_model

    with stage_progress(quiet=quiet or as_json) as progress:
        found = pull_model(reference, into.expanduser(), sha256, progress)
    if as_json:
        print_json(asdict(found))
        return
    say(
        f"{'was there' if found.was_there else 'fetched'}: {found.folder}\n"
        f"  licence: {found.licence or 'not told; ask where it comes from'}\n"
        f"  use it: {found.option} {found.reference}",
        quiet,
    )


def _demo_models() -> list[dict[str, Any]]:
    from vision.models import DEMO_FOLDER, ModelReferenceError, resolve_model

    manifest_path = Path(DEMO_FOLDER) / "manifest.json"
    manifest = json.loads(manifest_path.read_text()) if manifest_path.is_file() else {}
    rows = []
    for kind, file in (("segmenter", "sam2.safetensors"), ("labeller", "clip.safetensors")):
        try:
            found = resolve_model("demo", file)
        except ModelReferenceError:
            continue
        rows.append(
            {
                "reference": "demo",
                "kind": kind,
                "model_id": found.model_id,
                "bytes": found.path.stat().st_size,
                "manifest": manifest.get(file) or manifest.get("files", {}).get(file),
            }
        )
    return rows
