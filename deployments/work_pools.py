"""The work pools that `prefect.yaml` names, from the job templates in `deployments/pools/`."""

import json
from pathlib import Path
from typing import Any, Literal, get_args

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
from prefect.client.schemas.objects import WorkPool
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound

from deployments.changes import Change
from deployments.errors import PoolTypeError

PoolType = Literal["process", "docker", "kubernetes"]
POOL_TYPES: tuple[PoolType, ...] = get_args(PoolType)
WORK_POOLS = {
    "cpu": "Everything but segmentation.",
    "gpu": "Segmentation; its workers run where the accelerator is.",
}
_TEMPLATES = Path(__file__).parent / "pools"


def job_template(pool_type: PoolType, name: str) -> dict[str, Any]:
    """The base job template of a pool: what its worker starts for a run, and what can be set."""
    template: dict[str, Any] = json.loads((_TEMPLATES / f"{pool_type}-{name}.json").read_text())
    return template


async def ensure_work_pool(
    client: PrefectClient, name: str, pool_type: PoolType, *, update: bool, dry_run: bool
) -> Change:
    """Create a work pool if it is missing.

    Args:
        client: Connected to the server.
        name: One of `WORK_POOLS`.
        pool_type: The infrastructure its workers start runs on.
        update: Write the template over one that differs; make a pool of another type anew.
        dry_run: Say what would be done; change nothing.

    Raises:
        PoolTypeError: If a pool of another type has the name, and `update` is not set.
    """
    wanted = WorkPoolCreate(
        name=name,
        type=pool_type,
        description=WORK_POOLS[name],
        base_job_template=job_template(pool_type, name),
    )
    found = await _read(client, name)
    if found is None or (found.type != pool_type and update):
        if not dry_run:
            try:
                if found is not None:
                    await client.delete_work_pool(name)
                await client.create_work_pool(wanted)
            except (ObjectAlreadyExists, ObjectNotFound):
                # Somebody does the same at this moment, and was quicker: see what is there now.
                return await ensure_work_pool(
                    client, name, pool_type, update=update, dry_run=dry_run
                )
        return Change("work pool", name, "replaced" if found else "created")
    if found.type != pool_type:
        raise PoolTypeError(name, found.type, pool_type)
    if (found.description, found.base_job_template) == (
        wanted.description,
        wanted.base_job_template,
    ):
        return Change("work pool", name, "unchanged")
    if not update:
        # An image or a memory limit that somebody set in the server's pages.
        return Change("work pool", name, "differs")
    if not dry_run:
        changed = WorkPoolUpdate(
            description=wanted.description, base_job_template=wanted.base_job_template
        )
        await client.update_work_pool(name, changed)
    return Change("work pool", name, "updated")


async def _read(client: PrefectClient, name: str) -> WorkPool | None:
    try:
        return await client.read_work_pool(name)
    except ObjectNotFound:
        return None
