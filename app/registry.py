"""segmill models: which models there are."""

import json
from pathlib import Path
from typing import Any

import typer

from app.options import Json, Root, answer_console, print_json, settings_for

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
