"""What is known of the models of a root: which there are, which is live, how they compare."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from storage.evaluations import Evaluation, read_evaluations
from storage.gate_decisions import GateDecision, read_decisions
from storage.model_store import FileFacts, ModelStore, StoredModel
from storage.promotions import Promotion, read_promotions
from tasks.gate import compare_metric, decide
from tasks.gate_rules import Gate
from tasks.live_model import (
    FIRST_LIVE_MODEL,
    PROMOTED,
    REGISTERED,
    find_registered,
    resolve_reference,
)
from tasks.measured_pairs import newest_pair
from vision.metrics.bootstrap import MeanDifference


@dataclass(frozen=True)
class ModelFacts:
    """Everything that a root knows of a registered model.

    Attributes:
        model: The model.
        files: Its files, by name.
        config: What it was registered with.
        evaluations: Its measurements, the oldest first.
        decisions: What the gate found of it, likewise.
        promotions: When it became live, and why, likewise.
        children: Models that were trained from it.
    """

    model: StoredModel
    files: dict[str, FileFacts]
    config: dict[str, Any]
    evaluations: Sequence[Evaluation]
    decisions: Sequence[GateDecision]
    promotions: Sequence[Promotion]
    children: Sequence[str]


def model_facts(root: str, model: str) -> ModelFacts:
    """Gather what a root knows of a registered model.

    Args:
        root: The data root.
        model: Its id, or the beginning of it; `model:` may stand before.

    Raises:
        ModelReferenceError: If there is no such model, or several.
        DamagedModelError: If its manifest or configuration is missing, or not as it was stored.
        DamagedFileError: If the tables are damaged.
    """
    store = ModelStore(root)
    found = find_registered(model, store)
    return ModelFacts(
        model=found,
        files=store.files(found),
        config=store.config(found),
        evaluations=read_evaluations(store.lake, found.model_id),
        decisions=read_decisions(store.lake, found.model_id),
        promotions=[
            each for each in read_promotions(store.lake) if each.model_id == found.model_id
        ],
        children=[each.model_id for each in store.models() if each.parent_id == found.model_id],
    )


@dataclass(frozen=True)
class MetricComparison:
    """One number of two models.

    Attributes:
        metric: Its name.
        first: Of the first model.
        second: Of the second one.
        difference: First minus second, with a confidence interval; None where there are no values
            of single images.
    """

    metric: str
    first: float
    second: float
    difference: MeanDifference | None


@dataclass(frozen=True)
class ModelComparison:
    """Two models side by side.

    Attributes:
        first: Measurement of the first model.
        second: Measurement of the second one, of the same images.
        metrics: The numbers that both have.
        decision: What the gate would say of the first one if the second one were live.
    """

    first: Evaluation
    second: Evaluation
    metrics: Sequence[MetricComparison]
    decision: GateDecision


class NotMeasuredAlikeError(LookupError):
    """Two models were not measured on the same images."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(
            f"{first} and {second} have no measurements of the same images; make them with "
            "segmill evaluate"
        )


def compare_models(root: str, first: str, second: str, gate: Gate) -> ModelComparison:
    """Compare the newest measurements of two models that are of the same images.

    Args:
        root: The data root.
        first: A model: `promoted`, `demo`, or the id of a registered one or its beginning.
        second: Another one.
        gate: How sure to be, and which rules the gate would ask.

    Raises:
        ModelReferenceError: If there is no such model, or several.
        NotMeasuredAlikeError: If there are no such measurements.
        DamagedFileError: If the tables are damaged.
    """
    lake = ModelStore(root).lake
    ids = [
        resolve_reference(known_model_reference(root, model), root).model_id
        for model in (first, second)
    ]
    ours, theirs = (read_evaluations(lake, model_id) for model_id in ids)
    pair = newest_pair(ours, theirs)
    if pair is None:
        raise NotMeasuredAlikeError(*ids)
    one, other = pair
    metrics = [
        MetricComparison(
            name,
            one.metrics[name].value,
            other.metrics[name].value,
            compare_metric(
                one.metrics[name], other.metrics[name], gate.confidence, gate.resamples, gate.seed
            ),
        )
        for name in one.metrics
        if name in other.metrics
    ]
    return ModelComparison(one, other, metrics, decide(gate, one, other))


def known_model_reference(root: str, model: str) -> str:
    """The reference of a model that people name by one, by an id or by its beginning.

    Raises:
        ModelReferenceError: If there is none, or several.
    """
    is_reference = ":" in model or model in (PROMOTED, FIRST_LIVE_MODEL)
    return resolve_reference(model if is_reference else f"{REGISTERED}{model}", root).reference
