"""The queue of notifications: can it be asked?"""

from app.health.findings import Finding, ok, problem
from storage.errors import QueueError
from storage.message_queue import MessageQueue
from storage.settings import Settings

_CHECK = "queue"


def check_queue(settings: Settings) -> list[Finding]:
    """Look at the queue; no message is received.

    Args:
        settings: Of the machine.
    """
    url = settings.sqs_queue_url
    if not url:
        return [ok(_CHECK, "none (SEGMILL_SQS_QUEUE_URL): drops are found by sweeps")]
    if not settings.root.startswith("s3://"):
        return [
            problem(
                _CHECK,
                f"{url}, but the root {settings.root} is no bucket",
                "unset SEGMILL_SQS_QUEUE_URL, or set SEGMILL_ROOT to s3://bucket/prefix",
            )
        ]
    try:
        waiting, hidden = MessageQueue(url).waiting()
    except QueueError as error:
        return [
            problem(_CHECK, str(error), "correct it; until then drops are found by sweeps only")
        ]
    return [ok(_CHECK, f"{url}: about {waiting} messages wait, {hidden} are being looked at")]
