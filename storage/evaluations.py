"""Measurements of models: numbers, and the values of each image that they are the means of.

With the values two models that were measured on the same images can be compared in pairs.
"""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from storage.checked_rows import read_checked
from storage.errors import UnknownEvaluationError

if TYPE_CHECKING:
    from storage.lake import Lake


@dataclass(frozen=True)
class Metric:
    """One number of a measurement.

    Attributes:
        value: The number; finite.
        per_image: What it is the mean of, by image id: one value, or one for each object on the
            image in an order that is the same for all models. Empty if it is no such mean. Images
            without a value are left out.
        groups: Images that are drawn together, because they are alike (pages of a book, frames of
            a video), have the same group; an image that is not here is a group of its own.
    """

    value: float
    per_image: Mapping[str, Sequence[float]] = field(default_factory=dict)
    groups: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Evaluation:
    """What was measured of a model.

    Attributes:
        evaluation_id: Hash of all of it but the time and the run.
        model_id: The model.
        dataset: The images.
        split: Which of them: `val`, `test`...
        params_id: The parameters of the mask generator, if it took part.
        images: How many images were measured.
        metrics: The numbers by name.
        run_id: The run that measured.
        evaluated_at: When, UTC.
        set_id: Hash of the images, their true masks and how the model was asked: measurements with
            the same one can be compared. None if it was not said.
    """

    evaluation_id: str
    model_id: str
    dataset: str
    split: str
    params_id: str | None
    images: int
    metrics: Mapping[str, Metric]
    run_id: str | None
    evaluated_at: datetime
    set_id: str | None = None


def store_evaluation(
    lake: "Lake",
    *,
    model_id: str,
    dataset: str,
    split: str,
    images: int,
    metrics: Mapping[str, Metric],
    params_id: str | None = None,
    run_id: str | None = None,
    set_id: str | None = None,
) -> Evaluation:
    """Store a measurement, in one commit; the same one is stored once.

    Args:
        lake: The tables.
        model_id: The model.
        dataset: The images.
        split: Which of them.
        images: How many images were measured.
        metrics: The numbers by name; at least one.
        params_id: The parameters of the mask generator, if it took part.
        run_id: The run that measured.
        set_id: Hash of the images, their true masks and how the model was asked.

    Raises:
        ValueError: If there is no number, or one of them is not finite.
        StorageError: As `Lake.append`.
    """
    if not metrics:
        raise ValueError("an evaluation has at least one metric")
    facts = {
        "model_id": model_id,
        "dataset": dataset,
        "split": split,
        "params_id": params_id,
        "images": images,
        "set_id": set_id,
    }
    for name, metric in metrics.items():
        values = [metric.value, *(value for each in metric.per_image.values() for value in each)]
        if not all(map(math.isfinite, values)):
            raise ValueError(f"metric {name!r} holds a number that is not finite; leave it out")
    numbers = {name: [metric.value, _listed(metric)] for name, metric in sorted(metrics.items())}
    canonical = json.dumps([facts, numbers], sort_keys=True, allow_nan=False)
    evaluation_id = hashlib.sha256(canonical.encode()).hexdigest()
    now = datetime.now(UTC)
    rows = [
        facts
        | {
            "evaluation_id": evaluation_id,
            "metric": name,
            "value": float(metric.value),
            "per_image": _listed(metric) or None,
            "run_id": run_id,
            "evaluated_at": now,
        }
        for name, metric in metrics.items()
    ]
    if lake.append("evaluations", rows, f"evaluation-{evaluation_id}"):
        return Evaluation(
            evaluation_id, model_id, dataset, split, params_id, images, metrics, run_id, now, set_id
        )
    return load_evaluation(lake, evaluation_id)


def load_evaluation(lake: "Lake", evaluation_id: str) -> Evaluation:
    """Read a measurement.

    Args:
        lake: The tables.
        evaluation_id: Its id, or a beginning that no other id has.

    Raises:
        UnknownEvaluationError: If there is none, or there are several.
        DamagedFileError: If the table is damaged.
    """
    found = [
        each
        for each in read_evaluations(lake)
        if evaluation_id and each.evaluation_id.startswith(evaluation_id)
    ]
    if len(found) != 1:
        ids = ", ".join(each.evaluation_id[:12] for each in found[:5]) or "none"
        raise UnknownEvaluationError(
            f"expected one evaluation whose id begins with {evaluation_id!r}, but found {ids}"
        )
    return found[0]


def read_evaluations(lake: "Lake", model_id: str | None = None) -> list[Evaluation]:
    """Read all measurements, or those of a model; the oldest first.

    Raises:
        DamagedFileError: If the table is damaged.
    """
    rows: dict[str, list[dict[str, Any]]] = {}
    for row in read_checked(lake, "evaluations"):
        if model_id in (None, row["model_id"]):
            rows.setdefault(row["evaluation_id"], []).append(row)
    found = [_evaluation(evaluation_id, each) for evaluation_id, each in rows.items()]
    return sorted(found, key=lambda each: (each.evaluated_at, each.evaluation_id))


def _evaluation(evaluation_id: str, rows: Sequence[dict[str, Any]]) -> Evaluation:
    first = rows[0]
    return Evaluation(
        evaluation_id=evaluation_id,
        model_id=first["model_id"],
        dataset=first["dataset"],
        split=first["split"],
        params_id=first["params_id"],
        images=first["images"],
        metrics={row["metric"]: _metric(row) for row in sorted(rows, key=lambda r: r["metric"])},
        run_id=first["run_id"],
        evaluated_at=first["evaluated_at"],
        set_id=first["set_id"],
    )


def _metric(row: dict[str, Any]) -> Metric:
    listed = row["per_image"] or ()
    return Metric(
        row["value"],
        {item["image_id"]: tuple(item["measured"]) for item in listed},
        {item["image_id"]: item["group_id"] for item in listed if item["group_id"]},
    )


def _listed(metric: Metric) -> list[dict[str, Any]]:
    return [
        {
            "image_id": image_id,
            "group_id": metric.groups.get(image_id),
            "measured": [float(value) for value in values],
        }
        for image_id, values in sorted(metric.per_image.items())
    ]
