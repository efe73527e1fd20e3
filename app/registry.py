"""segmill models: which models there are, which is live, and where they come from."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from app.model_exports import export
from app.model_views import compare, show
from app.options import (
    DryRun,
    Json,
    Quiet,
    Root,
    answer_console,
    print_json,
    say,
    settings_for,
)
from app.promotions import promote, rollback

models = typer.Typer(no_args_is_help=True, help="The models: which there are, which is live.")
models.command()(show)
models.command()(compare)
models.command()(promote)
models.command()(rollback)
models.command()(export)


@models.command("list")
def list_models(root: Root = None, as_json: Json = False) -> None:
    """List the models that ship with the engine and those that are registered; * is live.

    Examples:
      segmill models list

      segmill models list --root s3://bucket/prefix --json
    """
    from storage.model_store import ModelStore
    from tasks.live_model import live_model

    chosen = settings_for(root).root
    live = live_model(chosen)
    rows = _shipped_models()
    for model in ModelStore(chosen).models():
        facts = asdict(model) | {"reference": f"model:{model.model_id}"}
        rows.append(facts | {"bytes": facts.pop("size_bytes")})
    for row in rows:
        row["live"] = row["reference"] == live.reference and row["kind"] == "segmenter"
    if as_json:
        print_json({"models": rows, "live": asdict(live)})
        return
    from app.terminal import print_table

    shown = [
        [
            "*" if row["live"] else "",
            row["reference"],
            row["kind"],
            row["model_id"],
            row.get("parent_id") or "",
            f"{row['registered_at']:%Y-%m-%d %H:%M}" if "registered_at" in row else "",
        ]
        for row in rows
    ]
    columns = ("live", "reference", "kind", "model_id", "trained from", "registered (UTC)")
    print_table(columns, shown, answer_console())


@models.command()
def register(
    reference: Annotated[
        str, typer.Argument(help="file:PATH, hub:ORG/NAME or demo: a segmenter, as safetensors.")
    ],
    name: Annotated[
        str | None,
        typer.Option(help="How its id begins. \\[default: the file's name]", show_default=False),
    ] = None,
    parent: Annotated[
        str | None, typer.Option(help="The model that it was trained from: an id, or demo.")
    ] = None,
    root: Root = None,
    as_json: Json = False,
    quiet: Quiet = False,
    dry_run: DryRun = False,
) -> None:
    """Put a segmenter into the root's model store, so that every worker can load it.

    The same weights are one model, whatever they are called. It does not
    become live: segmill models promote.

    Examples:
      segmill models register file:runs/7/model.safetensors --name comic-7

      segmill models register hub:facebook/sam2.1-hiera-tiny --dry-run
    """
    from tasks.live_model import resolve_reference
    from tasks.model_facts import known_model_reference
    from tasks.register_model import register_model, verify_weights

    chosen = settings_for(root).root
    parent_id = None
    if parent is not None:
        parent_id = resolve_reference(known_model_reference(chosen, parent), chosen).model_id
    if dry_run:
        found = verify_weights(reference)
        facts: dict[str, Any] = {"model_id": found.model_id, "path": str(found.path)}
        if as_json:
            print_json(facts | {"registered": False, "dry_run": True})
        else:
            say(f"{found.model_id} can be loaded and would be registered", quiet)
        return
    model, new = register_model(chosen, reference, name=name, parent_id=parent_id)
    if as_json:
        print_json(asdict(model) | {"registered": new, "dry_run": False})
        return
    say(
        f"{'registered' if new else 'was registered before'}: {model.model_id}\n"
        f"  use it: --model model:{model.model_id}",
        quiet,
    )


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


def _shipped_models() -> list[dict[str, Any]]:
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
