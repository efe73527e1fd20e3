"""Fetch a model once and keep it as safetensors, with where it came from and its hash.

Of the Hugging Face hub or a mirror of it (`HF_ENDPOINT`), of any HTTPS address with its SHA-256, or
of a file that was brought here by hand. What was begun is gone on with.
"""

import hashlib
import json
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from filelock import FileLock

from storage.addresses import without_secrets
from tasks.exports.folder import OutputFolderError, whole_folder
from tasks.report.data import Progress
from vision.checkpoints import ConversionError, convert_weights
from vision.models import HUB_CHECKPOINTS, HUB_NAME, MANIFEST, WEIGHTS_SUFFIXES

STAGE = "fetch"
_CLIP_CONFIG = "open_clip_config.json"
_CLIP_WEIGHTS = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
_CLIP_BESIDE = re.compile(
    r"(tokenizer[^/]*|vocab|merges|special_tokens_map|added_tokens)\.(json|txt)"
)
_MAX_BYTES = 20 * 2**30
_CHUNK_BYTES = 2**20
_TIMEOUT_S = 60
_SHA256 = re.compile(r"[0-9a-f]{64}")


class PullError(ValueError):
    """A model that cannot be fetched; the message says what to do.

    It shows no password, token or signature of an address.
    """

    def __init__(self, message: str) -> None:
        super().__init__(without_secrets(message))


@dataclass(frozen=True)
class PulledModel:
    """A model that is here now.

    Attributes:
        folder: Where it lies.
        reference: What settings call it.
        option: The option of the command line that takes it.
        sha256: Of the safetensors file.
        licence: What its repository says; None if that is unknown.
        was_there: Whether it had been fetched before.
    """

    folder: str
    reference: str
    option: str
    sha256: str
    licence: str | None
    was_there: bool


@dataclass(frozen=True)
class _Source:
    """A model's files on this machine and what is known of them."""

    name: str
    weights: Path
    beside: Sequence[Path]
    facts: dict[str, Any]


def pull_model(
    reference: str, into: Path, sha256: str | None = None, progress: Progress | None = None
) -> PulledModel:
    """Fetch a model, unless one of the SHA-256 that is asked for is here.

    Of the hub it is asked what is there; what was fetched of that before comes from its cache.

    Args:
        reference: `hub:org/name`, `hub:org/name@revision`, `https://...` or `file:PATH`.
        into: The folder that gets a folder for the model.
        sha256: What the fetched file must have; addresses need it.
        progress: Told in megabytes how much of an address has come.

    Raises:
        PullError: The reference is none, cannot be reached, or is not what it should be.
        OSError: It cannot be written here.
    """
    if sha256 is not None and not _SHA256.fullmatch(sha256):
        raise PullError(f"a SHA-256 has 64 hex digits, lower case, but got {sha256!r}")
    into.mkdir(parents=True, exist_ok=True)
    # Two at once would write to the same files.
    with FileLock(into / ".pulling.lock"):
        if sha256 is not None and (known := _fetched_before(into, sha256)):
            return _described(known, was_there=True)
        source = _source(reference, into, sha256, progress)
        fetched = _sha256(source.weights)
        if sha256 not in (None, fetched):
            raise PullError(f"{reference}: its SHA-256 is {fetched}, but {sha256} was expected")
        slug = re.sub(r"[^a-z0-9.]+", "-", source.name.lower()).strip("-.")
        folder = into / f"{slug}-{_identity(fetched, source.beside)[:12]}"
        was_there = (folder / MANIFEST).is_file()
        if not was_there:
            _assemble(folder, source, fetched)
        if source.weights.parent == into:
            source.weights.unlink()  # it was downloaded for this alone
        return _described(folder, was_there)


def _source(reference: str, into: Path, sha256: str | None, progress: Progress | None) -> _Source:
    kind, _, rest = reference.partition(":")
    if kind == "hub" and HUB_NAME.fullmatch(rest):
        return _from_hub(*rest.partition("@")[::2])
    if kind in ("https", "http"):
        if sha256 is None:
            raise PullError("say with --sha256 what the file at this address should be")
        return _from_address(reference, into, sha256, progress)
    path = Path(rest).expanduser()
    if kind == "file" and path.is_file():
        present = [file.name for file in path.parent.iterdir()]
        beside = _clip_files(present) if path.name in _CLIP_WEIGHTS else []
        files = [path.parent / name for name in beside]
        return _Source(path.stem, path, files, {"source": path.name})
    raise PullError(
        f"model {reference!r}: expected hub:org/name, hub:org/name@revision, https://... or "
        "file:PATH of a file that is there"
    )


def _fetched_before(into: Path, sha256: str) -> Path | None:
    for manifest in into.glob(f"*/{MANIFEST}"):
        if json.loads(manifest.read_text()).get("fetched_sha256") == sha256:
            return manifest.parent
    return None


def _identity(fetched: str, beside: Sequence[Path]) -> str:
    """The hash of weights alone, or of weights and what lies beside them."""
    if not beside:
        return fetched
    hashes = [fetched, *(f"{path.name} {_sha256(path)}" for path in sorted(beside))]
    return hashlib.sha256("\n".join(hashes).encode()).hexdigest()


def _assemble(folder: Path, source: _Source, fetched: str) -> None:
    is_clip = any(path.name == _CLIP_CONFIG for path in source.beside)
    name = _CLIP_WEIGHTS[0] if is_clip else "model.safetensors"
    try:
        with whole_folder(folder, overwrite=False) as unfinished:
            convert_weights(source.weights, unfinished / name)
            for path in source.beside:
                shutil.copyfile(path, unfinished / path.name)
            manifest = source.facts | {
                "fetched_sha256": fetched,
                "files": {name: {"sha256": _sha256(unfinished / name)}},
            }
            (unfinished / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n")
    except ConversionError as error:
        raise PullError(str(error)) from None
    except OutputFolderError:
        raise PullError(f"{folder} holds something else; remove it") from None


def _described(folder: Path, was_there: bool) -> PulledModel:
    manifest = json.loads((folder / MANIFEST).read_text())
    (sha256,) = (entry["sha256"] for entry in manifest["files"].values())
    option = "--clip-model" if (folder / _CLIP_CONFIG).is_file() else "--model"
    reference = f"file:{folder}"
    licence = manifest.get("licence")
    return PulledModel(str(folder), reference, option, sha256, licence, was_there)


def _from_hub(name: str, revision: str) -> _Source:
    # Slow to import, and other references need no hub.
    import httpx2  # which huggingface_hub speaks HTTP with
    from huggingface_hub import HfApi, errors, hf_hub_download

    try:
        info = HfApi().model_info(name, revision=revision or None, timeout=_TIMEOUT_S)
        present = [sibling.rfilename for sibling in info.siblings or ()]
        weights, beside = _wanted(name, present)
        # The commit, so that all files are of one version even where a branch moves meanwhile.
        paths = [
            Path(hf_hub_download(name, file, revision=info.sha)) for file in (weights, *beside)
        ]
    except (
        errors.HfHubHTTPError,
        errors.HFValidationError,
        errors.LocalEntryNotFoundError,
        errors.OfflineModeIsEnabled,
        httpx2.HTTPError,
        OSError,
    ) as error:
        wanted = HUB_CHECKPOINTS.get(name, "its weights file")
        raise PullError(
            f"hub:{name} cannot be fetched: {str(error).splitlines()[0]}\n"
            f"  Where there is a network, download {wanted} of that repository (and of a CLIP what "
            "lies beside it), bring it here, and run: segmill models pull "
            f"file:{HUB_CHECKPOINTS.get(name, 'PATH')}"
        ) from None
    licence = getattr(info.card_data, "license", None)
    facts = {"source": f"hub:{name}", "revision": info.sha, "licence": licence}
    return _Source(name.split("/")[1], paths[0], paths[1:], facts)


def _wanted(name: str, present: list[str]) -> tuple[str, list[str]]:
    """The weights file of a repository, and what has to lie beside it.

    Raises:
        PullError: Several could be meant, or none.
    """
    if name in HUB_CHECKPOINTS:
        return HUB_CHECKPOINTS[name], []
    for file in _CLIP_WEIGHTS if _CLIP_CONFIG in present else ():
        if file in present:
            return file, _clip_files(present)
    found = [file for file in present if file.endswith(WEIGHTS_SUFFIXES)]
    if len(found) != 1:
        names = ", ".join(found[:5]) or "none"
        raise PullError(f"hub:{name}: expected one weights file in it, but found {names}")
    return found[0], []


def _clip_files(present: list[str]) -> list[str]:
    """What open_clip reads beside the weights, of the files that are present."""
    if _CLIP_CONFIG not in present:
        return []
    return [_CLIP_CONFIG, *sorted(file for file in present if _CLIP_BESIDE.fullmatch(file))]


def _from_address(address: str, into: Path, sha256: str, progress: Progress | None) -> _Source:
    """Download a file, or what is missing of it."""
    try:
        parts = urlsplit(address)
        # Signed addresses and passwords stay out of the manifest.
        plain = f"{parts.scheme}://{parts.hostname}{parts.path}"
    except ValueError:
        # No part of it is shown: where a password begins in it is not known.
        raise PullError("this is no address: expected https://HOST/PATH") from None
    name = Path(parts.path).name or "model"
    partial = into / f".{sha256}{Path(name).suffix}"
    if not partial.is_file() or _sha256(partial) != sha256:
        _download(address, partial, progress)
        if (found := _sha256(partial)) != sha256:
            partial.unlink()
            raise PullError(f"{plain}: its SHA-256 is {found}, but {sha256} was expected")
    return _Source(Path(name).stem, partial, (), {"source": plain})


def _download(address: str, partial: Path, progress: Progress | None) -> None:
    import httpx2

    done = partial.stat().st_size if partial.is_file() else 0
    # Compressed on the way, the bytes that came could not be counted.
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={done}-"} if done else {})
    try:
        with httpx2.stream(
            "GET", address, headers=headers, follow_redirects=True, timeout=_TIMEOUT_S
        ) as answer:
            if answer.status_code == httpx2.codes.RANGE_NOT_SATISFIABLE:
                partial.unlink()  # longer than what is there now; its hash was wrong already
            answer.raise_for_status()
            if answer.status_code != httpx2.codes.PARTIAL_CONTENT:
                done = 0
            total = done + int(answer.headers.get("Content-Length", 0))
            with partial.open("ab" if done else "wb") as file:
                for chunk in answer.iter_bytes(_CHUNK_BYTES):
                    done += file.write(chunk)
                    if max(done, total) > _MAX_BYTES:
                        raise PullError(f"{address}: larger than {_MAX_BYTES // 2**30} GiB")
                    if progress:
                        progress(STAGE, done // 2**20, max(done, total) // 2**20)
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        raise PullError(
            f"{address} cannot be fetched: {error}\n  Run the same command again to go on, or "
            "bring the file here and run: segmill models pull file:PATH"
        ) from None


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
