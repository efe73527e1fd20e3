"""What S3 says happened in a bucket: the messages of its event notifications, read with care."""

import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_plus

from storage.errors import NotificationError

_SHOWN = 80


@dataclass(frozen=True)
class ObjectEvent:
    """One thing that happened to one object.

    Attributes:
        name: What happened, such as `ObjectCreated:Put`.
        bucket: The bucket.
        key: The object's key, decoded.
    """

    name: str
    bucket: str
    key: str

    @property
    def created(self) -> bool:
        """Whether the object was written, not removed, restored or tagged."""
        return self.name.removeprefix("s3:").startswith("ObjectCreated:")


def parse_events(body: str) -> list[ObjectEvent]:
    """Read the body of a message, also one that came through an SNS topic.

    Args:
        body: The body as the queue gave it. Anybody who may write to the queue wrote it.

    Raises:
        NotificationError: If it is no event notification; `s3:TestEvent`, which S3 sends when
            notifications are switched on, is none.
    """
    document = _object(body)
    if document.get("Type") == "Notification" and isinstance(document.get("Message"), str):
        document = _object(document["Message"])
    if document.get("Event") == "s3:TestEvent":
        raise NotificationError("s3:TestEvent, which S3 sends when notifications are switched on")
    records = document.get("Records")
    if not isinstance(records, list):
        raise NotificationError(f"expected a list Records, found {_shown(records)}")
    return [_event(record) for record in records]


def _object(text: str) -> dict[str, Any]:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        raise NotificationError(f"expected JSON, found {_shown(text)}") from None
    if not isinstance(document, dict):
        raise NotificationError(f"expected a JSON object, found {_shown(document)}")
    return document


def _event(record: Any) -> ObjectEvent:
    try:
        name, bucket = record["eventName"], record["s3"]["bucket"]["name"]
        key = record["s3"]["object"]["key"]
    except (KeyError, TypeError):
        raise NotificationError(f"expected a record of an object, found {_shown(record)}") from None
    for value in (name, bucket, key):
        if not isinstance(value, str):
            raise NotificationError(f"expected text, found {_shown(value)}")
    # S3 encodes keys as forms do: a space is a plus sign, anything but ASCII is percent-encoded.
    return ObjectEvent(name, bucket, unquote_plus(key, errors="replace"))


def _shown(value: Any) -> str:
    text = ascii(value)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"
