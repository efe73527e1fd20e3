"""The events by which one flow starts another; `prefect.yaml` holds the triggers."""

import logging
import time
from uuid import UUID

from httpx import HTTPError
from prefect.client.orchestration import get_client
from prefect.events import emit_event
from prefect.events.filters import EventFilter, EventIDFilter
from prefect.exceptions import PrefectException

from storage.promotions import Promotion

DROP_SEALED = "drop.sealed"
IMAGES_INGESTED = "images.ingested"
SEGMENTS_STORED = "segments.stored"
CURATION_READY = "curation.ready"
"""Payload: dataset, crossing_id (for `tasks.crossings.begin_crossing`), new, needed. It may come
more than once, with the same crossing_id."""
QUARANTINE_ALARM = "quarantine.alarm"
MODEL_PROMOTED = "model.promoted"

RUN_TAG = "segmill"
"""What `prefect.yaml` tags every deployment with, and so every run of it."""


_log = logging.getLogger(__name__)

# The server stores events every five seconds or so.
_ARRIVES_WITHIN_SECONDS = 30.0
_LOOK_EVERY_SECONDS = 1.0


def emit(event: str, dataset: str, *, event_id: UUID | None = None, **payload: int | str) -> None:
    """Say that something happened to a dataset.

    Args:
        event: One of the names above.
        dataset: The dataset, also in the payload, so that a trigger can pass it on.
        event_id: Id of the event; None draws one.
        **payload: Small facts about it.
    """
    emit_event(
        event,
        resource={"prefect.resource.id": f"dataset.{dataset}"},
        payload={"dataset": dataset, **payload},
        id=event_id,
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


def has_arrived(event_id: UUID) -> bool:
    """Wait until the server has an event, which goes out in the background: nobody sees it fail.

    Args:
        event_id: Its id.

    Returns:
        False if the server does not have it after half a minute, or does not answer.
    """
    wanted = EventFilter(id=EventIDFilter(id=[event_id]))
    deadline = time.monotonic() + _ARRIVES_WITHIN_SECONDS
    try:
        with get_client(sync_client=True) as client:
            while not client.read_events(wanted, limit=1).events:
                if time.monotonic() > deadline:
                    return False
                time.sleep(_LOOK_EVERY_SECONDS)
    except (PrefectException, HTTPError) as error:
        _log.warning("whether an event has arrived is not known: %s", error)
        return False
    return True
