"""Names that are not known, told with the nearest one that is."""

from collections.abc import Collection
from difflib import get_close_matches

_SHOWN = 20


def unknown_name(kind: str, name: str, known: Collection[str]) -> str:
    """A sentence about a name that is not known, with the nearest one that is.

    Args:
        kind: What it names.
        name: The name.
        known: The names there are.
    """
    near = get_close_matches(name, known, 1)
    meant = f", did you mean {near[0]!r}?" if near else ""
    listed = ", ".join(known if len(known) <= _SHOWN else [*sorted(known)[:_SHOWN], "…"])
    return f"unknown {kind} {name[:80]!r}{meant or f': expected one of {listed}'}"
