"""What a model reference stands for in a root: `promoted`, `model:ID`, and those that need no root.

Before any promotion the live model is `demo`, the one that ships with the engine. The first
promotion puts it into the model store, so that there is a way back to it in later versions too.
"""

from dataclasses import dataclass
from pathlib import Path

from storage.errors import AmbiguousModelError, UnknownModelError
from storage.lake import Lake
from storage.model_cache import ModelCache
from storage.model_store import ModelStore, StoredModel
from storage.promotions import Promotion, read_promotions
from storage.settings import get_settings
from vision.models import ModelReferenceError, resolve_model

PROMOTED = "promoted"
FIRST_LIVE_MODEL = "demo"
REGISTERED = "model:"


@dataclass(frozen=True)
class LiveModel:
    """The model that is live.

    Attributes:
        model_id: Its name and weights hash.
        reference: What loads it: `model:ID`, or `demo` before any promotion.
        promotion: The promotion that made it live; None before any.
    """

    model_id: str
    reference: str
    promotion: Promotion | None

    @property
    def number(self) -> int:
        """Number of the last promotion, 0 before any."""
        return 0 if self.promotion is None else self.promotion.number


@dataclass(frozen=True)
class ResolvedModel:
    """What a reference stood for when it was asked.

    Attributes:
        reference: What loads the same weights again; never `promoted`, nor a part of an id.
        model_id: Name and weights hash.
    """

    reference: str
    model_id: str


def live_model(root: str) -> LiveModel:
    """The model that is live in a root now.

    Raises:
        DamagedFileError: If a promotion is lost, or is not as it was written.
    """
    promotions = read_promotions(Lake.open(root))
    if not promotions:
        return LiveModel(resolve_model(FIRST_LIVE_MODEL).model_id, FIRST_LIVE_MODEL, None)
    last = promotions[-1]
    return LiveModel(last.model_id, f"{REGISTERED}{last.model_id}", last)


def resolve_reference(reference: str, root: str) -> ResolvedModel:
    """Find the segmenter that a reference stands for now.

    Args:
        reference: `promoted`, the live model of the root; `model:ID`, a registered one, where the
            beginning of an id is enough; or whatever `vision.models.resolve_model` takes.
        root: The data root.

    Raises:
        ModelReferenceError: If the reference names no model, or several, or it is not there.
        DamagedModelError: If a file of a registered model is missing.
        DamagedFileError: If the tables are damaged.
    """
    if reference == PROMOTED:
        reference = live_model(root).reference
    if reference.startswith(REGISTERED):
        store = ModelStore(root)
        model = find_registered(reference, store)
        store.check_presence(model)
        return ResolvedModel(f"{REGISTERED}{model.model_id}", model.model_id)
    if reference != FIRST_LIVE_MODEL and not reference.startswith(("file:", "hub:")):
        raise ModelReferenceError(
            reference, "expected promoted, model:ID, demo, file:PATH, hub:ORG/NAME or "
            "hub:ORG/NAME@REVISION"
        )  # fmt: skip
    return ResolvedModel(reference, resolve_model(reference).model_id)


def local_reference(reference: str, root: str) -> str:
    """What loads a resolved reference on this machine; a registered model is fetched if need be.

    Args:
        reference: As `ResolvedModel` has it.
        root: The data root.

    Returns:
        `file:PATH` of a registered model, under which it has the same id; others as they are.

    Raises:
        ModelReferenceError: If the model is not registered.
        DamagedModelError: If a file of it is missing, or not as it was stored.
        ModelTooLargeError: If it is larger than this machine takes.
    """
    if not reference.startswith(REGISTERED):
        return reference
    store = ModelStore(root)
    return f"file:{local_weights(store, find_registered(reference, store))}"


def local_weights(store: ModelStore, model: StoredModel) -> Path:
    """The weights of a registered model on this machine; raises as `local_reference`."""
    settings = get_settings()
    cache = ModelCache(
        Path(settings.models_cache), settings.models_cache_bytes, settings.max_model_bytes
    )
    return cache.weights(store, model)


def find_registered(reference: str, store: ModelStore) -> StoredModel:
    """Find the model of `model:ID`.

    Raises:
        ModelReferenceError: If there is none, or several.
    """
    try:
        return store.find(reference.removeprefix(REGISTERED))
    except (UnknownModelError, AmbiguousModelError) as error:
        raise ModelReferenceError(reference, str(error)) from None
