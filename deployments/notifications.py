"""How a person is told: through the block that SEGMILL_NOTIFICATION_BLOCK names, if any."""

import json
from dataclasses import dataclass
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.events.actions import ActionTypes, CallWebhook, SendNotification
from prefect.exceptions import ObjectNotFound

from deployments.errors import NotificationBlockError


@dataclass(frozen=True)
class Notifier:
    """A block that tells somebody.

    Attributes:
        block_id: Id of its document; what is secret in it stays with the server.
        is_webhook: Whether it is called with JSON, not with a subject and a text.
    """

    block_id: UUID
    is_webhook: bool

    def tell(self, subject: str, body: str) -> ActionTypes:
        """The action of an automation that tells it.

        Args:
            subject: A few words.
            body: A sentence; what is in `{{ }}` is filled in by the server.
        """
        if not self.is_webhook:
            return SendNotification(block_document_id=self.block_id, subject=subject, body=body)
        # Rendered first and read as JSON then: names with quotes in them must not break it.
        text = "{{ text | tojson }}"
        payload = f"{{% set text %}}{body}{{% endset %}}"
        payload += f'{{"subject": {json.dumps(subject)}, "text": {text}}}'
        return CallWebhook(block_document_id=self.block_id, payload=payload)


async def find_notifier(client: PrefectClient, block: str | None) -> Notifier | None:
    """Look the block up on the server.

    Args:
        client: Connected to the server.
        block: Type and name, such as `slack-webhook/ops`; None or nothing tells nobody.

    Raises:
        NotificationBlockError: If there is no such block, or it cannot notify.
    """
    if not block:  # an environment file can hold the name without a value
        return None
    block_type, _, name = block.partition("/")
    try:
        document = await client.read_block_document_by_name(name, block_type, include_secrets=False)
    except ObjectNotFound:
        raise NotificationBlockError(block, "the server has no such block") from None
    capabilities = document.block_schema.capabilities if document.block_schema else []
    is_webhook = block_type == "webhook"
    if not is_webhook and "notify" not in capabilities:
        raise NotificationBlockError(
            block, "blocks of this type send no notifications; take slack-webhook, sendgrid-email, "
            "webhook or another one that does"
        )  # fmt: skip
    return Notifier(document.id, is_webhook)
