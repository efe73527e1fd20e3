"""For how long a table's log says which files were removed from the table, and when.

A checkpoint forgets files that were removed longer ago than a week, by Delta's default. A vacuum
then goes by their age, as if nobody had ever needed them.
"""

import random
import re
import time
from typing import TYPE_CHECKING

from deltalake.exceptions import CommitFailedError

if TYPE_CHECKING:
    from storage.lake import Lake

_ATTEMPTS = 10
# Properties of a table, and what Delta does without them, h.
_DEFAULTS = {"delta.deletedFileRetentionDuration": 168, "delta.logRetentionDuration": 720}
_INTERVAL = re.compile(r"interval\s+(?P<count>[0-9]+)\s+(?P<unit>[a-z]+?)s?", re.IGNORECASE)
_HOURS = {
    "millisecond": 1 / 3_600_000, "second": 1 / 3600, "minute": 1 / 60, "hour": 1, "day": 24,
    "week": 168,
}  # fmt: skip


def keep_removed_files(lake: "Lake", table: str, retention_hours: int) -> bool:
    """Let a table's log remember removed files for at least so long; a commit where it must change.

    Args:
        lake: The tables.
        table: Name of the table.
        retention_hours: How long, h.

    Returns:
        False if other writers won every attempt.
    """
    for attempt in range(_ATTEMPTS):
        stored = lake.table(table)
        assert stored is not None
        found = stored.metadata().configuration
        short = {
            name: f"interval {retention_hours} hours"
            for name, default in _DEFAULTS.items()
            if _hours(found.get(name), default) < retention_hours
        }
        if not short:
            return True
        try:
            stored.alter.set_table_properties(short)
        except CommitFailedError:
            time.sleep(random.uniform(0, min(0.5, 0.01 * 2**attempt)))
        else:
            return True
    return False


def _hours(interval: str | None, default: float) -> float:
    """An interval as Delta writes it; 0 if it is one that Delta alone understands."""
    if interval is None:
        return default
    found = _INTERVAL.fullmatch(interval.strip())
    return int(found["count"]) * _HOURS.get(found["unit"].lower(), 0) if found else 0
