"""One value as a cell of a table in the terminal."""

import re
from typing import Any

from rich.text import Text

LONGEST = 1000
# What moves the cursor, colours the rest, or turns the order of what follows around.
_UNSEEN = re.compile(
    r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]"
)


def cell(value: Any) -> Text:
    """Write a value as a person reads it: data cannot command the terminal.

    Args:
        value: Any value; None is a dim `null`. Of a line above `LONGEST` characters the start is
            shown, and how long it is.
    """
    if value is None:
        return Text("null", style="dim")
    if isinstance(value, float):
        return Text(f"{value:.6g}" if abs(value) < 1e6 else f"{value:.1f}")
    if isinstance(value, bytes):
        value = value.decode("ascii", "backslashreplace")
    text = str(value)
    if len(text) > LONGEST and "\n" not in text:
        text = f"{text[:LONGEST]}… ({len(text):,} characters)"
    return Text(_UNSEEN.sub(_escaped, text))


def _escaped(found: re.Match[str]) -> str:
    return found.group().encode("unicode_escape").decode()
