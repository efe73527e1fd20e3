"""Values that people write as text, for the `$parameters` of a query."""

import json
import re
from math import isfinite

Value = bool | int | float | str | None

_WORDS: dict[str, bool | None] = {"true": True, "false": False, "null": None}
# What begins with a zero is an id rather than a number, and would lose it.
_INTEGER = re.compile(r"[+-]?(0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[+-]?(0|[1-9][0-9]*|(?=\.[0-9]))(\.[0-9]*)?([eE][+-]?[0-9]{1,3})?")
_LARGEST_INTEGER = 2**63 - 1


def typed_value(text: str) -> Value:
    """Read a value: a whole number, a number, true, false, null, or else text.

    Text that would be read as another type goes in double quotes, as in JSON: `"12"`.

    Args:
        text: What was written.

    Returns:
        The value. Whole numbers that 64 bits do not hold remain text, as do numbers that begin
        with a zero.
    """
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        # Python itself refuses to read much longer ones.
        return int(text) if len(text) < 25 and abs(int(text)) <= _LARGEST_INTEGER else text
    if _FLOAT.fullmatch(text) and isfinite(number := float(text)):
        return number
    if text.startswith('"'):
        try:
            return str(json.loads(text))
        except ValueError:
            return text
    return text


def shown_value(value: Value) -> str:
    """Write a value so that `typed_value` reads it again."""
    if isinstance(value, str):
        return value if typed_value(value) == value else json.dumps(value, ensure_ascii=False)
    return json.dumps(value)
