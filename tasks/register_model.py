"""Take a model into the model store, so that every machine can load it and it can become live."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from storage.errors import WeightsRefusedError
from storage.model_store import ModelStore, StoredModel
from tasks.live_model import FIRST_LIVE_MODEL
from vision.models import ModelSource, resolve_model
from vision.sam2.architecture import DEMO_CONFIG, config_of, read_image_size, read_shapes


def register_model(
    root: str,
    reference: str,
    *,
    name: str | None = None,
    config: Mapping[str, Any] | None = None,
    parent_id: str | None = None,
    training_run_id: str | None = None,
) -> tuple[StoredModel, bool]:
    """Store and register a segmenter, if it can be loaded.

    Args:
        root: The data root.
        reference: `file:PATH`, `hub:org/name` or `demo`, of safetensors.
        name: The beginning of its id; None takes that of the file or repository. The model that
            ships keeps its own.
        config: Further facts to keep beside the weights, as JSON values.
        parent_id: The model that it was trained from.
        training_run_id: The training that made it.

    Returns:
        The model, and whether it was registered now. The same weights are one model, which keeps
        its first name.

    Raises:
        ModelReferenceError: If the reference leads to no weights.
        WeightsRefusedError: If they are no safetensors.
        WeightsFileError: If they are damaged, hold numbers that are not finite, or are of no model
            known here.
        StorageError: As `ModelStore.put`.
    """
    found = verify_weights(reference)
    shipped = resolve_model(FIRST_LIVE_MODEL)
    if _hash(found) == _hash(shipped):
        name = FIRST_LIVE_MODEL  # under this id it is live until another is
    return ModelStore(root).put(
        name or found.model_id.rpartition("-")[0],
        found.path,
        {**describe_weights(found.path), **(config or {})},
        source=reference,
        parent_id=parent_id,
        training_run_id=training_run_id,
    )


def verify_weights(reference: str) -> ModelSource:
    """Load a segmenter once, to see that it can be; raises as `register_model`."""
    found = resolve_model(reference)
    if found.path.suffix != ".safetensors":
        raise WeightsRefusedError(str(found.path), "its name does not end in .safetensors")
    # Torch takes seconds to import, and what is refused for its form does not need it.
    from vision.sam2.config import load_model

    load_model(found.path)
    return found


def keep_first_model(store: ModelStore) -> StoredModel:
    """Register the model that is live before any promotion; raises as `ModelStore.put`."""
    path = resolve_model(FIRST_LIVE_MODEL).path
    config = describe_weights(path)
    return store.put(FIRST_LIVE_MODEL, path, config, source=FIRST_LIVE_MODEL)[0]


def _hash(source: ModelSource) -> str:
    return source.model_id.rpartition("-")[2]


def describe_weights(path: Path) -> dict[str, Any]:
    """What a safetensors file says of its model: its architecture and the size of its images.

    Raises:
        WeightsFileError: If the file is no safetensors, or is of no model known here.
    """
    architecture = config_of(path, read_shapes(path))
    return {
        "architecture": "demo" if architecture == str(DEMO_CONFIG) else architecture,
        "image_size_px": read_image_size(path),
    }
