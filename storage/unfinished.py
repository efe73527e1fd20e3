"""Give up what a unit of work has committed before it was finished, so that it can be done anew."""

from typing import TYPE_CHECKING

from storage.errors import CommitConflictError
from storage.rewriting import replace_files
from storage.unit_lives import is_committed

if TYPE_CHECKING:
    from storage.lake import Lake

_ATTEMPTS = 20


def give_up_unit(lake: "Lake", unit_id: str, life: int) -> bool:
    """Withdraw an unfinished unit in this life of it; its next one may commit other rows.

    Who works on it at the same time finds that it was withdrawn, and commits no more of it. The
    rows are removed when the unit is committed to their tables again; nobody sees them till then.

    Args:
        lake: The tables.
        unit_id: The unit.
        life: What `Lake.life` returned when this work on it began.

    Returns:
        False if somebody has finished the unit, or given it up; nothing is changed then.

    Raises:
        CommitConflictError: If other writers won every attempt.
        StorageError: As `Lake.append`.
    """
    for _ in range(_ATTEMPTS):
        version = lake.table_to_write("units").transaction_version(unit_id)
        if is_committed(version) or (version or 0) > life:
            return False
        about = {"segmill": "give up", "unit": unit_id}
        lives = {unit_id: (version, life + 1)}
        if replace_files(lake, "units", [], [], about=about, data_change=False, lives=lives):
            return True
    raise CommitConflictError("units", unit_id, _ATTEMPTS)
