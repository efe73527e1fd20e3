"""Make a Prefect server ready for SegMill's deployments: work pools and automations.

What is there already is left as it is, so it can be run any number of times: `segmill provision`.
"""

import asyncio

import httpx
from prefect.client.orchestration import get_client
from prefect.settings import get_current_settings

from deployments.automations import ensure_automations, wanted_automations
from deployments.changes import Change
from deployments.errors import ServerNotNamedError, ServerUnreachableError
from deployments.notifications import find_notifier
from deployments.work_pools import WORK_POOLS, PoolType, ensure_work_pool

_ANSWER_SECONDS = 30.0


async def provision(
    pool_type: PoolType = "process",
    *,
    notification_block: str | None = None,
    update: bool = False,
    dry_run: bool = False,
) -> list[Change]:
    """Create what is missing on the server of PREFECT_API_URL.

    Args:
        pool_type: The infrastructure on which the work pools' workers start runs.
        notification_block: Type and name of the block that tells somebody, if any.
        update: Write the job templates over those that differ, and make pools of another type
            anew.
        dry_run: Say what would be done; change nothing.

    Returns:
        What was done to each work pool and automation.

    Raises:
        ServerNotNamedError: If no server is named.
        ServerUnreachableError: If it does not answer.
        PoolTypeError: If a pool of another type is there, and `update` is not set.
        NotificationBlockError: If the block cannot notify.
    """
    url = get_current_settings().api.url
    if not url:
        # Prefect would start a server that lasts as long as this command.
        raise ServerNotNamedError
    try:
        async with get_client() as client:
            # Prefect's client asks a server that says nothing for minutes, again and again.
            await asyncio.wait_for(client.hello(), _ANSWER_SECONDS)
            # Looked up first, so that a wrong name leaves nothing half done.
            notifier = await find_notifier(client, notification_block)
            changes = [
                await ensure_work_pool(client, name, pool_type, update=update, dry_run=dry_run)
                for name in WORK_POOLS
            ]
            wanted = wanted_automations(notifier)
            return changes + await ensure_automations(client, wanted, dry_run=dry_run)
    except httpx.HTTPStatusError as error:
        status = error.response.status_code
        reason = f"answers with status {status}"
        if status in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
            reason += ": set PREFECT_API_AUTH_STRING as on the server"
        raise ServerUnreachableError(url, reason) from error
    except TimeoutError as error:
        raise ServerUnreachableError(url, "does not answer") from error
    except (httpx.TransportError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and not isinstance(error.__cause__, httpx.HTTPError):
            raise  # not Prefect's way to say that it could not connect
        raise ServerUnreachableError(url, "does not answer") from error
