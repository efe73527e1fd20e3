"""Files in a table's folder that no version of the table names."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from deltalake import DeltaTable

from storage.objects import LocalStore

if TYPE_CHECKING:
    from storage.lake import Lake


def unknown_files(stored: DeltaTable, retention_hours: int = 0) -> set[str]:
    """Names of the files that the log knows nothing of, and that are older than a time.

    Either a commit is under way, or its writer died, or the log lost it.

    Args:
        stored: The table.
        retention_hours: Their least age, h.
    """
    unneeded = stored.vacuum(retention_hours, enforce_retention_duration=False, full=True)
    replaced = stored.vacuum(retention_hours, enforce_retention_duration=False)
    return set(unneeded) - set(replaced)


def unfinished_files(lake: "Lake", table: str, least_age_hours: int = 0) -> Sequence[Path]:
    """Files that were being written: a writer is at it, or died.

    Args:
        lake: The tables; in a bucket there are none, for an object is there when it is complete.
        table: Name of the table.
        least_age_hours: Their least age, h.
    """
    if not isinstance(lake.objects, LocalStore):
        return ()
    return lake.objects.unfinished(f"{table}/", least_age_hours * 3600)
