"""How often a unit of work was committed to a table and withdrawn from it.

Each commit of a unit, and each withdrawal, raises the version of the unit's application transaction
in the table by one: an odd version says that the unit's rows are there, an even one that they were
withdrawn. So work that was withdrawn can be done again, and is still done once only.
"""

from typing import TypeGuard

from deltalake import DeltaTable

RETRACTIONS = "segmill-retractions"
"""Application transaction of the table `units` that counts the retractions."""


def is_committed(version: int | None) -> TypeGuard[int]:
    """Tell by the version of a unit's transaction whether its rows are in the table."""
    return version is not None and version % 2 == 1


def next_life(version: int | None, of_units: int | None) -> int:
    """The version that a commit of a unit's rows gets.

    Args:
        version: The version of its transaction in the table.
        of_units: The version in the table `units`.
    """
    return max(version or 0, of_units if of_units and not is_committed(of_units) else 0) + 1


def retractions(units: DeltaTable | None) -> int:
    """How many retractions a version of the table `units` has seen."""
    return 0 if units is None else units.transaction_version(RETRACTIONS) or 0
