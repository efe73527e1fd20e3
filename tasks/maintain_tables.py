"""Maintain the tables of the lake: merge small files, remove old ones, checkpoint the logs."""

from deltalake.exceptions import DeltaError
from prefect import task
from prefect.cache_policies import NO_CACHE

from storage.errors import DamagedFileError
from storage.lake import Lake
from storage.maintenance import TableMaintenance, maintain_table
from storage.schemas import TABLES
from storage.table_logs import unreadable_log


@task(name="list-tables", cache_policy=NO_CACHE, retries=2, retry_delay_seconds=5)
def list_tables(root: str) -> list[str]:
    """The tables of a lake that have any files, by name; some may not be readable."""
    objects = Lake.open(root).objects
    return sorted(table for table in TABLES if any(objects.list(f"{table}/")))


@task(name="maintain-table", task_run_name="maintain-{table}", cache_policy=NO_CACHE)
def maintain_one(
    table: str, *, root: str, retention_hours: int, dry_run: bool
) -> TableMaintenance | DamagedFileError:
    """Maintain one table; one with a damaged file or log is left alone, and the damage returned.

    Args:
        table: Name of the table.
        root: The data root.
        retention_hours: How long files stay that the newest version does not need, h.
        dry_run: Say what would be done; change nothing.
    """
    lake = Lake.open(root)
    try:
        return maintain_table(lake, table, retention_hours=retention_hours, dry_run=dry_run)
    # The other tables must not wait until this one is mended.
    except DamagedFileError as error:
        return error
    except DeltaError as error:
        return unreadable_log(lake, table, error)
