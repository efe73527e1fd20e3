"""Read JSON that cannot be trusted: what other readers silently accept is refused by name."""

import json
import math
import re
import reprlib
from collections.abc import Iterator
from typing import Any

_ARCHIVES = (b"\x1f\x8b", b"PK\x03\x04", b"BZh", b"\xfd7zXZ\x00", b"\x28\xb5\x2f\xfd")
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_LONGEST_KEY = 200  # of a pointer
_UTF16_BOMS = (b"\xff\xfe", b"\xfe\xff")
_SUSPICIOUS_ESCAPE = re.compile(rb"\\u(?:0000|[dD][89a-fA-F])")
# All digits become 0: what may be beyond a float then shows in a plain search, which is ten times
# faster than a regular expression.
_ZEROS = bytes.maketrans(b"123456789E", b"000000000e")
_PERHAPS_NOT_FINITE = (b"NaN", b"Infinity", b"e000", b"0" * 309)


class DocumentError(ValueError):
    """A file that has to be refused as a whole.

    Attributes:
        rule: The broken rule, such as `json.truncated`.
        value: The offending part of the input.
        pointer: JSON pointer to it; empty for the whole file.
    """

    def __init__(self, rule: str, value: object, pointer: str = "") -> None:
        self.rule = rule
        self.value = value
        self.pointer = pointer
        super().__init__(f"{rule} at {pointer or '/'}: {reprlib.repr(value)}")

    def __reduce__(self) -> tuple[type["DocumentError"], tuple[str, str | int, str]]:
        """Survive a way between processes; a value of another kind is shown, not sent."""
        value = self.value if isinstance(self.value, str | int) else reprlib.repr(self.value)
        return DocumentError, (self.rule, value, self.pointer)


def has_byte_order_mark(data: bytes) -> bool:
    """Whether the file starts with a UTF-8 byte order mark."""
    return data.startswith(BYTE_ORDER_MARK)


def parse_json(data: bytes, max_bytes: int) -> Any:
    """Parse UTF-8 JSON, with or without a byte order mark.

    NaN, Infinity and numbers like 1e999 are kept as floats: `not_finite` finds them, so that one
    such number costs an entry and not the file.

    Raises:
        DocumentError: The file is empty, too large, an archive, not UTF-8, not one complete JSON
            value, nested too deeply, repeats a key in an object, or holds lone surrogates, NUL
            or an integer of more than 4300 digits.
    """
    check_start(data, len(data), max_bytes)
    return parse_value(data.removeprefix(BYTE_ORDER_MARK))


def check_start(start: bytes, size_bytes: int, max_bytes: int) -> None:
    """Refuse a file for its size or for what its first bytes tell.

    Args:
        start: Some bytes of the file, from the first on.
        size_bytes: Size of the whole file.
        max_bytes: Largest size taken.

    Raises:
        DocumentError: The file is too large, an archive, UTF-16 or UTF-32.
    """
    if size_bytes > max_bytes:
        raise DocumentError("json.too_large", f"{size_bytes} of {max_bytes} bytes")
    if start.startswith(_ARCHIVES):
        raise DocumentError("json.compressed", start[:8])
    if start.startswith(_UTF16_BOMS) or b"\0" in start[:4]:
        raise DocumentError("json.encoding", "UTF-16 or UTF-32")


def parse_value(data: bytes, pointer: str = "") -> Any:
    """Parse UTF-8 JSON text without byte order mark.

    Args:
        data: The text.
        pointer: JSON pointer to the value in its document.

    Raises:
        DocumentError: See `parse_json`.
    """
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        broken = data[error.start : error.start + 8]
        raise DocumentError("json.encoding", broken, pointer) from None
    if not text.strip():
        raise DocumentError("json.empty", f"{len(data)} bytes", pointer)
    try:
        document = strict_decoder.decode(text)
    except json.JSONDecodeError as error:
        raise syntax_error(error) from None
    except RecursionError:
        raise DocumentError("json.too_deep", "nesting beyond the limit", pointer) from None
    except DocumentError as error:
        raise DocumentError(error.rule, error.value, pointer) from None
    except ValueError as error:  # int() refuses more digits than the interpreter's limit
        raise DocumentError("json.integer_too_long", str(error), pointer) from None
    if _SUSPICIOUS_ESCAPE.search(data):
        _refuse_broken_strings(document, pointer)
    return document


def not_finite(
    document: Any, data: bytes | None = None, pointer: str = ""
) -> Iterator[tuple[str, float]]:
    """Find NaN and infinite numbers.

    Args:
        document: What `parse_json` or `parse_value` returned.
        data: The bytes it was parsed from, if they are at hand: a look at these clears most.
        pointer: JSON pointer to the value in its document.

    Yields:
        JSON pointer and value.
    """
    if data is not None:
        zeros = data.translate(_ZEROS, b"+")
        if not any(sign in zeros for sign in _PERHAPS_NOT_FINITE):
            return
    for place, value in _walk(document):
        if isinstance(value, float) and not math.isfinite(value):
            yield _pointer(pointer, place), value


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise DocumentError("json.duplicate_key", key)
            seen.add(key)
    return result


strict_decoder = json.JSONDecoder(object_pairs_hook=_unique_keys)
"""Parses as `json.loads` does, and refuses a key that is repeated in an object."""


def syntax_error(
    error: json.JSONDecodeError, lines_before: int = 0, columns_before: int = 0
) -> DocumentError:
    """What is wrong with a text, in words of our rules.

    Args:
        error: What the parser says.
        lines_before: Whole lines of the file before the text that was parsed.
        columns_before: Characters before that text in its first line.
    """
    column = error.colno + (columns_before if error.lineno == 1 else 0)
    where = f"line {lines_before + error.lineno} column {column}: {error.msg}"
    if error.msg.startswith("Extra data"):
        return DocumentError("json.trailing", where)
    at_end = not error.doc[error.pos + 1 :].strip()
    if at_end or error.msg.startswith("Unterminated string"):
        return DocumentError("json.truncated", where)
    return DocumentError("json.syntax", where)


def _refuse_broken_strings(document: Any, at: str) -> None:
    for place, value in _walk(document):
        for text in (
            (value,) if isinstance(value, str) else value if isinstance(value, dict) else ()
        ):
            if "\0" in text:
                raise DocumentError("json.nul", text, _pointer(at, place))
            if any("\ud800" <= c <= "\udfff" for c in text):
                raise DocumentError("json.surrogate", text, _pointer(at, place))


# A value's place: that of the value around it, and its key there. A whole pointer for each value
# would take as much memory as all keys above it.
_Place = tuple["_Place", str | int] | None


def _walk(document: Any) -> Iterator[tuple[_Place, Any]]:
    """Every value with its place, without recursion, in the order of the text."""
    pending: list[tuple[_Place, Any]] = [(None, document)]
    while pending:
        place, value = pending.pop()
        yield place, value
        if isinstance(value, dict):
            pending.extend(((place, key), item) for key, item in reversed(value.items()))
        elif isinstance(value, list):
            last = len(value) - 1
            pending.extend(((place, last - i), item) for i, item in enumerate(reversed(value)))


def _pointer(at: str, place: _Place) -> str:
    """JSON pointer to a place below another pointer."""
    keys = []
    while place is not None:
        place, key = place
        keys.append(str(key)[:_LONGEST_KEY].replace("~", "~0").replace("/", "~1"))
    return "/".join([at, *reversed(keys)])
