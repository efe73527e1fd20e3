"""Bars in the terminal, in steps of an eighth of a cell."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from app.cells import cell

CELLS = 24
_EIGHTHS = " ▏▎▍▌▋▊▉"


def bar(share: float) -> str:
    """A horizontal bar of up to `CELLS` cells; what is more than nothing is seen.

    Args:
        share: How much of the longest bar, 0-1.
    """
    eighths = max(1, round(share * CELLS * 8)) if share > 0 else 0
    return ("█" * (eighths // 8) + _EIGHTHS[eighths % 8]).rstrip()


def print_bars(
    rows: Sequence[Mapping[str, Any]],
    names: Iterable[str],
    length: str,
    *,
    color: Callable[[Mapping[str, Any]], str],
    console: Console | None = None,
) -> None:
    """Print rows as a table whose second column is a bar.

    Args:
        rows: Values by column.
        names: The columns to print, in this order; the bar comes after the first.
        length: The column that the bar shows.
        color: The colour of a row's bar, as Rich names it.
        console: Where to print; stdout by default.
    """
    first, *others = names
    longest = max((row[length] for row in rows), default=0) or 1
    table = Table(box=None, pad_edge=True, header_style="dim", padding=(0, 1))
    table.add_column(Text(first), overflow="ellipsis", max_width=24)
    table.add_column("", no_wrap=True)
    for name in others:
        numeric = any(isinstance(row[name], int | float) for row in rows)
        table.add_column(Text(name), justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        name_cell = cell(row[first])
        name_cell.stylize("bold")
        drawn = Text(bar(row[length] / longest), style=color(row))
        table.add_row(name_cell, drawn, *(cell(row[name]) for name in others))
    (console or Console()).print(table)
