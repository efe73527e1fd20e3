"""How often a unit of work was committed to a table and withdrawn from it.

Each commit of a unit, and each withdrawal, raises the version of the unit's application transaction
in the table by one: an odd version says that the unit's rows are there, an even one that they were
withdrawn. So work that was withdrawn can be done again, and is still done once only.

All tables that a unit writes get the same version, which is chosen when the work begins: rows of
work that was withdrawn meanwhile, and perhaps done again by another, are not mixed with those.
"""

from typing import TypeGuard

from deltalake import DeltaTable

RETRACTIONS = "segmill-retractions"
"""Application transaction of the table `units` that counts the retractions."""


def is_committed(version: int | None) -> TypeGuard[int]:
    """Tell by the version of a unit's transaction whether its rows are in the table."""
    return version is not None and version % 2 == 1


def current_life(version: int | None, of_units: int | None) -> int:
    """The version that a unit's transaction has in a table when its rows are there.

    Args:
        version: The version it has in the table now.
        of_units: The version in the table `units`.
    """
    withdrawn = 0 if of_units is None or is_committed(of_units) else of_units
    if is_committed(version) and version > withdrawn:
        return version
    return max(version or 0, withdrawn) + 1


def retractions(units: DeltaTable | None) -> int:
    """How many retractions a version of the table `units` has seen."""
    return 0 if units is None else units.transaction_version(RETRACTIONS) or 0
