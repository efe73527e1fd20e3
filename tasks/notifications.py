"""Event notifications of the bucket: a reason to look into the inbox at once, and no more.

What is new is decided by the tables and the inbox itself. So a message that is lost, late, doubled
or forged costs at most a look, and all that matters is that none stays in the queue for ever.
"""

import time
from dataclasses import dataclass

from prefect import task
from prefect.cache_policies import NO_CACHE

from storage.errors import NotificationError, QueueError
from storage.message_queue import Message, MessageQueue
from storage.s3_events import ObjectEvent, parse_events
from tasks.drops import INBOX

# Of one look; what is left is for the next.
_MOST_MESSAGES = 2_000
_MOST_SECONDS = 20.0
_FOLLOW_SECONDS = 1.0


@dataclass(frozen=True)
class Notices:
    """What the queue held.

    Attributes:
        messages: All that was received, to be deleted when the inbox was looked at.
        refused: Why messages say nothing about the inbox, a line each.
    """

    messages: list[Message]
    refused: list[str]


@task(name="receive-notices", cache_policy=NO_CACHE)
def receive_notices(queue_url: str, root: str, wait_seconds: float = 0) -> Notices:
    """Receive the notifications that are there, up to 2,000 of them or for 20 s.

    While others follow within a second, they are received too: a drop of many files, which is
    being written, is not looked at after each file.

    Args:
        queue_url: The queue.
        root: The data root.
        wait_seconds: How long to wait for a first one.

    Raises:
        QueueError: If the queue cannot be used, or the root is no bucket.
    """
    if not root.startswith("s3://"):
        # All messages would be foreign, and deleted, though another root may wait for them.
        raise QueueError(queue_url, f"only a root in S3 sends notifications, not {root}")
    queue = MessageQueue(queue_url)
    began = time.monotonic()
    batch = queue.receive(wait_seconds)
    # The queue lets nobody wait longer than 20 s at once.
    while not batch and (left := wait_seconds - (time.monotonic() - began)) > 0:
        batch = queue.receive(left)
    messages, began = list(batch), time.monotonic()
    while batch and len(messages) < _MOST_MESSAGES and time.monotonic() - began < _MOST_SECONDS:
        batch = queue.receive(_FOLLOW_SECONDS)
        messages += batch
    refused = [reason for message in messages for reason in refusals(message.body, root)]
    return Notices(messages, refused)


@task(name="delete-notices", cache_policy=NO_CACHE)
def delete_notices(queue_url: str, messages: list[Message]) -> int:
    """Delete messages; returns how many come back because the queue did not delete them.

    Raises:
        QueueError: If the queue cannot be used.
    """
    return MessageQueue(queue_url).delete(messages)


def refusals(body: str, root: str) -> list[str]:
    """Why a message, or parts of it, say nothing about the inbox; empty where all of it does.

    Args:
        body: The message.
        root: The data root, `s3://bucket/prefix`.
    """
    try:
        events = parse_events(body)
    except NotificationError as error:
        return [str(error)]
    return [reason for event in events if (reason := _refusal(event, root))]


def _refusal(event: ObjectEvent, root: str) -> str | None:
    bucket, _, prefix = root.removeprefix("s3://").partition("/")
    inbox = f"{prefix.strip('/')}/{INBOX}".removeprefix("/")
    # The key is anybody's text, and is shown as such.
    key = ascii(event.key[:80])
    if event.bucket != bucket:
        return f"another bucket, {event.bucket[:80]!a}: the root is in {bucket}"
    if not event.created:
        return f"{event.name[:80]!a} of {key}: only new objects matter"
    if not event.key.startswith(inbox):
        return f"{key} is not in {inbox}; limit the notifications to this prefix"
    name, slash, _ = event.key[len(inbox) :].partition("/")
    if not slash or not name:
        return f"{key} is not in a folder of the inbox, so in no drop"
    return None
