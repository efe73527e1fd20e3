"""Models of a root: `models/MODEL_ID/` with weights, configuration and manifest, and a row each.

The manifest names every file with its SHA-256 and is written last: without it there is no model. No
file is ever written over.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

from safetensors import SafetensorError, safe_open

from storage.checked_rows import read_checked
from storage.errors import (
    AmbiguousModelError,
    DamagedFileError,
    DamagedModelError,
    ModelTooLargeError,
    ObjectNotFoundError,
    ObjectUnreadableError,
    UnknownModelError,
    WeightsRefusedError,
)
from storage.lake import Lake
from storage.objects import ObjectStore, open_store
from storage.settings import get_settings

WEIGHTS = "model.safetensors"
CONFIG = "config.json"
MANIFEST = "manifest.json"

ModelKind = Literal["segmenter", "labeller"]

_NOT_IN_NAMES = re.compile(r"[^a-z0-9.+]+")
_LONGEST_NAME = 40
_MODEL_ID = re.compile(r"[a-z0-9][a-z0-9.+-]*-[0-9a-f]{12}")
_MOST_SMALL_BYTES = 2**20  # of a manifest or a configuration, which are read whole


@dataclass(frozen=True)
class StoredModel:
    """A model that is registered.

    Attributes:
        model_id: Its name and the first 12 hex digits of the SHA-256 of its weights.
        kind: What it is: a segmenter or a labeller.
        prefix: Where its files lie, below the root.
        sha256: SHA-256 of the weights.
        size_bytes: Size of the weights; None if nobody noted it.
        source: The reference that it was registered from, if there was one.
        parent_id: The model that it was trained from.
        training_run_id: The training that made it.
        registered_at: When it was stored, UTC.
    """

    model_id: str
    kind: ModelKind
    prefix: str
    sha256: str
    size_bytes: int | None
    source: str | None
    parent_id: str | None
    training_run_id: str | None
    registered_at: datetime


@dataclass(frozen=True)
class FileFacts:
    """What a manifest says of a file.

    Attributes:
        sha256: SHA-256 of its bytes.
        size_bytes: How many there are.
    """

    sha256: str
    size_bytes: int


class ModelStore:
    """The models of a root.

    Attributes:
        objects: The objects of the root.
        lake: The tables of the root.
    """

    def __init__(self, root: str) -> None:
        """Use the models of a root; nothing is opened yet.

        Args:
            root: A folder, or `s3://bucket/prefix`.

        Raises:
            UnsupportedRootError: If the root is a URI of another kind, or names no bucket.
        """
        self.objects: ObjectStore = open_store(root)
        self.lake = Lake.open(root)

    def put(
        self,
        name: str,
        weights: Path,
        config: Mapping[str, Any],
        *,
        kind: ModelKind = "segmenter",
        source: str | None = None,
        parent_id: str | None = None,
        training_run_id: str | None = None,
    ) -> tuple[StoredModel, bool]:
        """Store and register a model; the same weights are one model, whatever they are called.

        A model that is there is compared with what was stored, and files it lacks are written.

        Args:
            name: A readable name, the beginning of the model's id.
            weights: A safetensors file.
            config: What describes the model, as JSON values; at most 1 MiB of it.
            kind: What it is.
            source: The reference of the weights, for people.
            parent_id: The model that it was trained from.
            training_run_id: The training that made it.

        Returns:
            The model, and whether it was registered now.

        Raises:
            ValueError: If the configuration is larger; nothing is stored.
            WeightsRefusedError: If the file is no safetensors.
            ModelTooLargeError: If it has more bytes than SEGMILL_MAX_MODEL_BYTES.
            DamagedModelError: If the model is there already, but its files are not as they were.
            ConditionalWritesError: If the object store would let writers overwrite each other.
            StorageError: As `Lake.append`.
        """
        _require_safetensors(weights)
        size_bytes, most_bytes = weights.stat().st_size, get_settings().max_model_bytes
        if size_bytes > most_bytes:
            raise ModelTooLargeError(name, size_bytes, most_bytes)
        content = (json.dumps(config, indent=2, sort_keys=True) + "\n").encode()
        if len(content) > _MOST_SMALL_BYTES:
            raise ValueError(
                f"the configuration of model {name} has {len(content):,} bytes, but at most "
                f"{_MOST_SMALL_BYTES:,} are stored"
            )
        with weights.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        known = self._by_sha256(sha256)
        model_id = model_id_of(name, sha256)
        model = known or StoredModel(
            model_id=model_id,
            kind=kind,
            prefix=_prefix(model_id),
            sha256=sha256,
            size_bytes=size_bytes,
            source=source,
            parent_id=parent_id,
            training_run_id=training_run_id,
            registered_at=datetime.now(UTC),
        )
        self._store_files(model, weights, content)
        if known is not None:
            return known, False
        if self.lake.append("models", [asdict(model)], f"model-{sha256}"):
            return model, True
        # Somebody else registered it in the meantime, perhaps under another name.
        stored = self._by_sha256(sha256)
        assert stored is not None
        return stored, False

    def models(self) -> list[StoredModel]:
        """All registered models, the oldest first.

        Raises:
            DamagedFileError: If the table is damaged, or a row in it would lead elsewhere.
        """
        names = [field.name for field in fields(StoredModel)]
        rows = sorted(read_checked(self.lake, "models"), key=lambda row: row["registered_at"])
        for row in rows:
            # They become paths, on this machine too.
            if not _MODEL_ID.fullmatch(row["model_id"]) or row["prefix"] != _prefix(
                row["model_id"]
            ):
                reason = (
                    f"{row['model_id'][:80]!r} at {row['prefix'][:80]!r} is no model of the store"
                )
                raise DamagedFileError("models", self.lake.objects.uri("models"), reason)
        return [StoredModel(**{name: row[name] for name in names}) for row in rows]

    def find(self, model: str) -> StoredModel:
        """Find a registered model.

        Args:
            model: Its id, or a beginning of it that no other id has.

        Raises:
            UnknownModelError: If there is none; similar ids are named.
            AmbiguousModelError: If several ids begin like this.
            DamagedFileError: If the table is damaged.
        """
        return find_model(model, self.models())

    def files(self, model: StoredModel) -> dict[str, FileFacts]:
        """What the manifest of a model says of its files, by name.

        Raises:
            DamagedModelError: If the manifest is missing, is none, or is not of these weights.
        """
        key = f"{model.prefix}{MANIFEST}"
        manifest = self._read_small(model, key)
        try:
            listed = {
                name: FileFacts(str(facts["sha256"]), int(facts["bytes"]))
                for name, facts in json.loads(manifest)["files"].items()
            }
        except (ValueError, KeyError, TypeError, AttributeError):
            raise self._damaged(model, key, "it is no manifest of a model") from None
        if any("/" in name or name.startswith(".") for name in listed):
            raise self._damaged(model, key, "it names files that are elsewhere")
        if WEIGHTS not in listed or listed[WEIGHTS].sha256 != model.sha256:
            raise self._damaged(
                model, key, f"it does not name the registered weights, {model.sha256[:12]}…"
            )
        return listed

    def config(self, model: StoredModel) -> dict[str, Any]:
        """The configuration that a model was registered with.

        Raises:
            DamagedModelError: If it is missing, or not as it was stored.
        """
        key = f"{model.prefix}{CONFIG}"
        content = self._read_small(model, key)
        found = hashlib.sha256(content).hexdigest()
        expected = self.files(model)[CONFIG].sha256
        if found != expected:
            raise self._damaged(model, key, f"expected sha256 {expected[:12]}…, not {found[:12]}…")
        config: dict[str, Any] = json.loads(content)
        return config

    def copy_file(self, model: StoredModel, name: str, facts: FileFacts, target: Path) -> None:
        """Copy a file of a model out of the store, and compare it with the manifest.

        Args:
            model: The model.
            name: Name of the file.
            facts: What the manifest says of it.
            target: A file that does not exist yet. If this raises, it is removed.

        Raises:
            DamagedModelError: If it is missing, or not as it was stored.
            OSError: If the disk refuses.
        """
        try:
            with target.open("xb") as file:
                self._compare(model, name, facts, file.write)
        except BaseException:
            target.unlink(missing_ok=True)
            raise

    def check(self, model: StoredModel) -> None:
        """Compare every file of a model with what was stored.

        Raises:
            DamagedModelError: If one is missing, or not as it was stored.
        """
        for name, facts in self.files(model).items():
            self._compare(model, name, facts)

    def check_presence(self, model: StoredModel) -> None:
        """See that a model's manifest is right and its files are there, without reading them all.

        Raises:
            DamagedModelError: If one is missing.
        """
        for name in self.files(model):
            if not self.objects.exists(f"{model.prefix}{name}"):
                raise self._damaged(model, f"{model.prefix}{name}", "it is missing")

    def _compare(self, model: StoredModel, name: str, facts: FileFacts, write: Any = None) -> None:
        key = f"{model.prefix}{name}"
        digest, size_bytes = hashlib.sha256(), 0
        try:
            for chunk in self.objects.read_chunks(key):
                digest.update(chunk)
                size_bytes += len(chunk)
                if size_bytes > facts.size_bytes:
                    break
                if write is not None:
                    write(chunk)
        except ObjectNotFoundError:
            raise self._damaged(model, key, "it is missing") from None
        except ObjectUnreadableError as error:
            raise self._damaged(model, key, f"it is missing, or {error.reason}") from None
        if size_bytes != facts.size_bytes:
            more = "more" if size_bytes > facts.size_bytes else f"{size_bytes:,}"
            raise self._damaged(
                model, key, f"expected {facts.size_bytes:,} bytes, but it has {more}"
            )
        if digest.hexdigest() != facts.sha256:
            found = digest.hexdigest()
            raise self._damaged(
                model, key, f"expected sha256 {facts.sha256[:12]}…, but it has {found[:12]}…"
            )

    def _store_files(self, model: StoredModel, weights: Path, content: bytes) -> None:
        facts = {WEIGHTS: FileFacts(model.sha256, weights.stat().st_size)}
        if not self.objects.create(f"{model.prefix}{WEIGHTS}", weights):
            self._compare(model, WEIGHTS, facts[WEIGHTS])
        if not self.objects.create(f"{model.prefix}{CONFIG}", content):
            # Of another writer, which may have been killed: the manifest names what is there.
            content = self._read_small(model, f"{model.prefix}{CONFIG}")
        facts[CONFIG] = FileFacts(hashlib.sha256(content).hexdigest(), len(content))
        manifest = {
            "model_id": model.model_id,
            "kind": model.kind,
            "parent_id": model.parent_id,
            "training_run_id": model.training_run_id,
            "files": {
                name: {"sha256": file.sha256, "bytes": file.size_bytes}
                for name, file in facts.items()
            },
        }
        text = (json.dumps(manifest, indent=2) + "\n").encode()
        if not self.objects.create(f"{model.prefix}{MANIFEST}", text):
            self.check(model)

    def _read_small(self, model: StoredModel, key: str) -> bytes:
        content = bytearray()
        try:
            for chunk in self.objects.read_chunks(key):
                content += chunk
                if len(content) > _MOST_SMALL_BYTES:
                    raise self._damaged(model, key, f"it has more than {_MOST_SMALL_BYTES} bytes")
        except ObjectNotFoundError:
            raise self._damaged(model, key, "it is missing") from None
        except ObjectUnreadableError as error:
            # Who may not list a bucket is told the same of an object that is not there.
            raise self._damaged(model, key, f"it is missing, or {error.reason}") from None
        return bytes(content)

    def _by_sha256(self, sha256: str) -> StoredModel | None:
        return next((model for model in self.models() if model.sha256 == sha256), None)

    def _damaged(self, model: StoredModel, key: str, reason: str) -> DamagedModelError:
        return DamagedModelError(model.model_id, self.objects.uri(key), reason)


def _prefix(model_id: str) -> str:
    return f"models/{model_id}/"


def model_id_of(name: str, sha256: str) -> str:
    """The id of a model: a name fit for files, and the first 12 hex digits of its weights' hash."""
    slug = _NOT_IN_NAMES.sub("-", name.lower()).strip("-.")[:_LONGEST_NAME].strip("-.") or "model"
    return f"{slug}-{sha256[:12]}"


def find_model(model: str, known: Sequence[StoredModel]) -> StoredModel:
    """Find a model by its id, or by a beginning that no other id has; raises as `ModelStore.find`.

    Args:
        model: The id, or its beginning.
        known: The models there are.
    """
    found = [each for each in known if each.model_id == model] or [
        each for each in known if model and each.model_id.startswith(model)
    ]
    if len(found) > 1:
        raise AmbiguousModelError(model, [each.model_id for each in found])
    if not found:
        ids = [each.model_id for each in known]
        # The hash is half of a short id: without it, names are nearer to what was meant.
        names = {each.rpartition("-")[0]: each for each in ids}
        near = get_close_matches(model, ids, 3) or [
            names[name] for name in get_close_matches(model.rpartition("-")[0] or model, names, 3)
        ]
        raise UnknownModelError(model, near, len(known))
    return found[0]


def _require_safetensors(path: Path) -> None:
    if not path.is_file():
        raise WeightsRefusedError(str(path), "there is no such file")
    try:
        with safe_open(path, framework="numpy") as file:
            if not list(file.keys()):
                raise WeightsRefusedError(str(path), "it holds no tensors")
    except (SafetensorError, OSError) as error:
        raise WeightsRefusedError(
            str(path), f"it cannot be read as safetensors ({error})"
        ) from None
