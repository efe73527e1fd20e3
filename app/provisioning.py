"""segmill provision: make a Prefect server ready for the deployments."""

from dataclasses import asdict
from typing import Annotated, Literal

import typer

from app.options import DryRun, Json, Quiet, plural, print_json, say

PoolType = Annotated[
    Literal["process", "docker", "kubernetes"],
    typer.Option("--type", help="What the work pools' workers start runs as."),
]
Update = Annotated[
    bool,
    typer.Option(
        "--update",
        help="Also write the job templates over those that differ, and make pools of another type "
        "anew.",
    ),
]


def provision(
    pool_type: PoolType = "process",
    update: Update = False,
    as_json: Json = False,
    quiet: Quiet = False,
    dry_run: DryRun = False,
) -> None:
    """Create work pools and automations on the Prefect server of PREFECT_API_URL.

    What is there is left as it is, so it can be run again at any time. With
    SEGMILL_NOTIFICATION_BLOCK, such as slack-webhook/ops, zombie runs, failed
    nights and bad input are told through that block of the server.

    Examples:
      segmill provision --dry-run

      segmill provision --type kubernetes
    """
    import asyncio

    from app.prefect_side import server_address
    from deployments.provision import provision as provision_server
    from storage.settings import get_settings

    block = get_settings().notification_block
    changes = asyncio.run(
        provision_server(pool_type, notification_block=block, update=update, dry_run=dry_run)
    )
    changed = sum(change.changes_something for change in changes)
    if as_json:
        told = [asdict(change) for change in changes]
        print_json(
            {"server": server_address(), "dry_run": dry_run, "changed": changed, "changes": told}
        )
        return
    say(f"the Prefect server at {server_address()}", quiet)
    for change in changes:
        say(change.sentence(dry_run), quiet)
    if not changed:
        say("nothing to change", quiet)
    elif dry_run:
        say(f"{plural(changed, 'change')} to make; nothing was changed", quiet)
    if not block:
        say("nobody is told of failed nights and bad input: SEGMILL_NOTIFICATION_BLOCK", quiet)
