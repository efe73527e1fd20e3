"""The events by which one flow starts another; `prefect.yaml` holds the triggers."""

from prefect.events import emit_event

from storage.promotions import Promotion

DROP_SEALED = "drop.sealed"
IMAGES_INGESTED = "images.ingested"
SEGMENTS_STORED = "segments.stored"
QUARANTINE_ALARM = "quarantine.alarm"
MODEL_PROMOTED = "model.promoted"

RUN_TAG = "segmill"
"""What `prefect.yaml` tags every deployment with, and so every run of it."""


def emit(event: str, dataset: str, **payload: int | str) -> None:
    """Say that something happened to a dataset.

    Args:
        event: One of the names above.
        dataset: The dataset, also in the payload, so that a trigger can pass it on.
        **payload: Small facts about it.
    """
    emit_event(
        event,
        resource={"prefect.resource.id": f"dataset.{dataset}"},
        payload={"dataset": dataset, **payload},
    )


def emit_promotion(promotion: Promotion) -> None:
    """Say that a model became live, by a promotion or a rollback."""
    emit_event(
        MODEL_PROMOTED,
        resource={"prefect.resource.id": f"model.{promotion.model_id}"},
        payload={
            "model_id": promotion.model_id,
            "previous_id": promotion.previous_id,
            "number": promotion.number,
            "reason": promotion.why.reason,
        },
    )
