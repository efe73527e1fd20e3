"""Model references: what `demo`, `file:PATH` and `hub:org/name` stand for, and under which id."""

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

MANIFEST = "manifest.json"
DEMO_FOLDER = Path(__file__).parents[1] / "models" / "demo"

ModelKind = Literal["demo", "file", "hub"]
WEIGHTS_SUFFIXES = (".safetensors", ".pt", ".pth")

# Beside the checkpoint of `sam2`, these repositories hold weights under another library's names.
HUB_CHECKPOINTS = {
    f"facebook/sam{version}-hiera-{size}": f"sam{version}_hiera_{size.replace('-', '_')}.pt"
    for version in ("2", "2.1")
    for size in ("tiny", "small", "base-plus", "large")
}
HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+(@[\w./-]+)?")


class ModelReferenceError(ValueError):
    """A reference that leads to no model.

    Attributes:
        reference: The reference as given.
    """

    def __init__(self, reference: str, reason: str) -> None:
        self.reference = reference
        super().__init__(f"model {reference!r}: {reason}")


@dataclass(frozen=True)
class ModelSource:
    """Where a model's weights are.

    Attributes:
        kind: How the model was named.
        path: The weights file on this machine.
        model_id: A short readable name and 12 hex digits of the weights' SHA-256. It names the
            weights, wherever they lie, and stands beside every segment they made.
    """

    kind: ModelKind
    path: Path
    model_id: str


def resolve_model(reference: str, demo_file: str = "sam2.safetensors") -> ModelSource:
    """Find the weights a reference names; those on the hub are fetched, once.

    Args:
        reference: `demo`, the model that ships with the engine; `file:PATH`, a weights file or a
            folder with a single one; `hub:org/name` or `hub:org/name@revision`, a repository of
            the Hugging Face hub.
        demo_file: The file `demo` stands for.

    Raises:
        ModelReferenceError: If the reference has none of these forms, or nothing is there.
    """
    if reference == "demo":
        path = DEMO_FOLDER / demo_file
        if not path.is_file():
            raise ModelReferenceError(reference, f"{path} is missing; reinstall, or train it again")
        return ModelSource("demo", path, model_id("demo", path))
    kind, _, rest = reference.partition(":")
    if kind == "file" and rest:
        path = _single_weights_file(reference, Path(rest).expanduser())
        name = path.stem if path.stem != "model" else path.resolve().parent.name
        return ModelSource("file", path, model_id(name, path))
    if kind == "hub" and HUB_NAME.fullmatch(rest):
        name, _, revision = rest.partition("@")
        path = _fetch(reference, name, revision or None)
        return ModelSource("hub", path, model_id(name.split("/")[1], path))
    raise ModelReferenceError(
        reference, "expected demo, file:PATH, hub:org/name or hub:org/name@revision"
    )


def model_id(name: str, path: Path) -> str:
    """Return `name`, made fit for a file name, with 12 hex digits of the file's SHA-256.

    Args:
        name: Any readable name; it is cut to 40 characters. Where it ends in these digits already,
            as folders of the model store do, they are not added again.
        path: The weights file.

    Raises:
        ModelReferenceError: If a `manifest.json` beside the file lists another SHA-256, or none.
    """
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    _check_manifest(path, digest)
    plain = name.lower().removesuffix(f"-{digest[:12]}")
    slug = re.sub(r"[^a-z0-9.+]+", "-", plain).strip("-.")[:40] or "model"
    return f"{slug}-{digest[:12]}"


def _check_manifest(path: Path, sha256: str) -> None:
    """Refuse weights that differ from what the manifest beside them says, where there is one."""
    manifest = path.parent / MANIFEST
    if not manifest.is_file():
        return
    try:
        listed = json.loads(manifest.read_bytes())["files"][path.name]["sha256"]
    except (ValueError, KeyError, TypeError):
        raise ModelReferenceError(str(path), f"{manifest.name} does not list it") from None
    if listed != sha256:
        raise ModelReferenceError(
            str(path), f"its SHA-256 is {sha256[:12]}…, but {manifest.name} says {listed[:12]}…"
        )


def _single_weights_file(reference: str, path: Path) -> Path:
    if path.is_file():
        return path
    if not path.is_dir():
        raise ModelReferenceError(reference, "there is no such file or folder")
    found = sorted(file for file in path.iterdir() if file.suffix in WEIGHTS_SUFFIXES)
    if len(found) != 1:
        names = ", ".join(file.name for file in found[:5]) or "none"
        raise ModelReferenceError(reference, f"expected one weights file in it, but found {names}")
    return found[0]


def _fetch(reference: str, name: str, revision: str | None) -> Path:
    # Slow to import, and most references need no network.
    from huggingface_hub import hf_hub_download, snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        if name in HUB_CHECKPOINTS:
            return Path(hf_hub_download(name, HUB_CHECKPOINTS[name], revision=revision))
        patterns = [f"*{suffix}" for suffix in WEIGHTS_SUFFIXES]
        folder = snapshot_download(name, revision=revision, allow_patterns=patterns)
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise ModelReferenceError(reference, f"cannot be fetched from the hub: {error}") from error
    return _single_weights_file(reference, Path(folder))
