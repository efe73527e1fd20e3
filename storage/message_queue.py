"""Messages of an Amazon SQS queue, or of a server that speaks its language."""

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any
from urllib.parse import urlsplit

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from storage.addresses import require_plain
from storage.errors import QueueError

_ATTEMPTS = 3
_LONGEST_WAIT_SECONDS = 20  # the limit of SQS
_BATCH = 10  # likewise
# Longer than a sweep takes, so that another watch does not receive them meanwhile.
_HIDDEN_SECONDS = 300
_AMAZON_HOST = re.compile(r"(?:sqs\.([a-z0-9-]+)|([a-z0-9-]+)\.queue)\.amazonaws\.com(?:\.cn)?")
_NO_RIGHTS = {
    *("AccessDenied", "AccessDeniedException", "InvalidClientTokenId", "SignatureDoesNotMatch"),
    *("ExpiredToken", "InvalidSecurity", "KMS.AccessDeniedException"),
}


@dataclass(frozen=True)
class Message:
    """A message that was received; it comes back unless it is deleted.

    Attributes:
        body: What it says.
        receipt: What deletes it.
    """

    body: str
    receipt: str


class MessageQueue:
    """The queue of a URL. Every method raises `QueueError` where it cannot be used."""

    def __init__(self, url: str) -> None:
        """Use the queue with the credentials of the environment; nothing is requested yet.

        Args:
            url: As the console shows it: `https://sqs.REGION.amazonaws.com/ACCOUNT/NAME`, or
                that of a queue of another server.

        Raises:
            QueueError: If it is no URL of a queue.
            SecretInAddressError: If it has a password in it.
        """
        require_plain(url, "SEGMILL_SQS_QUEUE_URL")
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.path in ("", "/"):
            raise QueueError(url, "expected https://sqs.REGION.amazonaws.com/ACCOUNT/NAME")
        amazon = _AMAZON_HOST.fullmatch(parts.hostname)
        region = (amazon[1] or amazon[2]) if amazon else None
        self.url = url
        try:
            self._client: Any = boto3.client(
                "sqs",
                region_name=region or boto3.Session().region_name or "us-east-1",
                endpoint_url=None if amazon else f"{parts.scheme}://{parts.netloc}",
                config=Config(
                    retries={"mode": "standard", "total_max_attempts": _ATTEMPTS},
                    connect_timeout=5,
                    read_timeout=_LONGEST_WAIT_SECONDS + 10,
                ),
            )
        except (BotoCoreError, ValueError) as error:
            raise QueueError(url, str(error)) from error

    def receive(self, wait_seconds: float = 0) -> list[Message]:
        """Receive up to ten messages, hidden from others for five minutes.

        Args:
            wait_seconds: How long to wait for a first one, in whole seconds and at most 20.
        """
        with self._told():
            answer = self._client.receive_message(
                QueueUrl=self.url,
                MaxNumberOfMessages=_BATCH,
                VisibilityTimeout=_HIDDEN_SECONDS,
                WaitTimeSeconds=min(math.ceil(wait_seconds), _LONGEST_WAIT_SECONDS),
            )
        found = answer.get("Messages", ())
        return [Message(item["Body"], item["ReceiptHandle"]) for item in found]

    def delete(self, messages: Iterable[Message]) -> int:
        """Delete messages and return how many the queue did not delete; those come back."""
        failed = 0
        for batch in _batches(messages):
            entries = [
                {"Id": str(number), "ReceiptHandle": message.receipt}
                for number, message in enumerate(batch)
            ]
            with self._told():
                answer = self._client.delete_message_batch(QueueUrl=self.url, Entries=entries)
            failed += len(answer.get("Failed", ()))
        return failed

    def waiting(self) -> tuple[int, int]:
        """About how many messages wait, and how many are received, but not deleted."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        with self._told():
            answer = self._client.get_queue_attributes(QueueUrl=self.url, AttributeNames=names)
        visible, hidden = (int(answer["Attributes"][name]) for name in names)
        return visible, hidden

    @contextmanager
    def _told(self) -> Iterator[None]:
        """What the client raises, as one sentence that says what to do."""
        try:
            yield
        except ClientError as error:
            code = str(error.response["Error"].get("Code", ""))
            plain = code.rpartition("#")[2]
            if "NonExistentQueue" in plain or plain == "QueueDoesNotExist":
                reason = "there is no such queue; compare its URL with the one in the console"
            elif plain in _NO_RIGHTS or _status(error) == 403:
                reason = (
                    f"{error.operation_name} is refused ({plain}); allow the credentials "
                    "sqs:ReceiveMessage, sqs:DeleteMessage and sqs:GetQueueAttributes"
                )
            else:
                reason = f"{plain}: {error.response['Error'].get('Message', '')}"
            raise QueueError(self.url, reason) from error
        except BotoCoreError as error:
            raise QueueError(self.url, str(error)) from error


def _batches(messages: Iterable[Message]) -> Iterator[Sequence[Message]]:
    remaining = iter(messages)
    while batch := list(islice(remaining, _BATCH)):
        yield batch


def _status(error: ClientError) -> int:
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
