"""Create the work pools that `prefect.yaml` names; those that exist are left as they are.

Run it against a Prefect server: `python -m deployments.provision`.
"""

import asyncio

from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.exceptions import ObjectAlreadyExists

WORK_POOLS = {
    "cpu": "Everything but segmentation.",
    "gpu": "Segmentation; its workers run where the accelerator is.",
}


async def create_work_pools() -> list[str]:
    """Create the missing process work pools and return their names."""
    created = []
    async with get_client() as client:
        for name, description in WORK_POOLS.items():
            pool = WorkPoolCreate(name=name, type="process", description=description)
            try:
                await client.create_work_pool(pool)
            except ObjectAlreadyExists:
                continue
            created.append(name)
    return created


def main() -> None:
    """Create what is missing and say what was created."""
    created = asyncio.run(create_work_pools())
    for name in WORK_POOLS:
        print(f"work pool {name}: {'created' if name in created else 'already there'}")


if __name__ == "__main__":
    main()
