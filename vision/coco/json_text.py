"""Read JSON that cannot be trusted: what other readers silently accept is refused by name."""

import json
import math
import re
import reprlib
from collections.abc import Iterator
from typing import Any

_ARCHIVES = (b"\x1f\x8b", b"PK\x03\x04", b"BZh", b"\xfd7zXZ\x00", b"\x28\xb5\x2f\xfd")
_BOM = b"\xef\xbb\xbf"
_UTF16_BOMS = (b"\xff\xfe", b"\xfe\xff")
_SUSPICIOUS_ESCAPE = re.compile(rb"\\u(?:0000|[dD][89a-fA-F])")
_PERHAPS_NOT_FINITE = re.compile(rb"NaN|Infinity|[eE]\+?[0-9]{3}|[0-9]{309}")


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


def has_byte_order_mark(data: bytes) -> bool:
    """Whether the file starts with a UTF-8 byte order mark."""
    return data.startswith(_BOM)


def parse_json(data: bytes, max_bytes: int) -> Any:
    """Parse UTF-8 JSON, with or without a byte order mark.

    NaN, Infinity and numbers like 1e999 are kept as floats: `not_finite` finds them, so that one
    such number costs an entry and not the file.

    Raises:
        DocumentError: The file is empty, too large, an archive, not UTF-8, not one complete JSON
            value, nested too deeply, repeats a key in an object, or holds lone surrogates, NUL
            or an integer of more than 4300 digits.
    """
    text = _decode(data, max_bytes)
    try:
        document = json.loads(text, object_pairs_hook=_unique_keys)
    except json.JSONDecodeError as error:
        raise _syntax_error(error) from None
    except RecursionError:
        raise DocumentError("json.too_deep", "nesting beyond the limit") from None
    except DocumentError:
        raise
    except ValueError as error:  # int() refuses more digits than the interpreter's limit
        raise DocumentError("json.integer_too_long", error) from None
    if _SUSPICIOUS_ESCAPE.search(data):
        _refuse_broken_strings(document)
    return document


def not_finite(document: Any, data: bytes) -> Iterator[tuple[str, float]]:
    """Find NaN and infinite numbers.

    Args:
        document: What `parse_json` returned.
        data: The bytes it was parsed from; most files are cleared by a look at these.

    Yields:
        JSON pointer and value.
    """
    if not _PERHAPS_NOT_FINITE.search(data):
        return
    for pointer, value in _walk(document):
        if isinstance(value, float) and not math.isfinite(value):
            yield pointer, value


def _decode(data: bytes, max_bytes: int) -> str:
    if len(data) > max_bytes:
        raise DocumentError("json.too_large", f"{len(data)} of {max_bytes} bytes")
    if data.startswith(_ARCHIVES):
        raise DocumentError("json.compressed", data[:8])
    if data.startswith(_UTF16_BOMS) or b"\0" in data[:4]:
        raise DocumentError("json.encoding", "UTF-16 or UTF-32")
    try:
        text = data.removeprefix(_BOM).decode("utf-8")
    except UnicodeDecodeError as error:
        raise DocumentError("json.encoding", data[error.start : error.start + 8]) from None
    if not text.strip():
        raise DocumentError("json.empty", f"{len(data)} bytes")
    return text


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise DocumentError("json.duplicate_key", key)
            seen.add(key)
    return result


def _syntax_error(error: json.JSONDecodeError) -> DocumentError:
    where = f"line {error.lineno} column {error.colno}: {error.msg}"
    if error.msg.startswith("Extra data"):
        return DocumentError("json.trailing", where)
    at_end = not error.doc[error.pos + 1 :].strip()
    if at_end or error.msg.startswith("Unterminated string"):
        return DocumentError("json.truncated", where)
    return DocumentError("json.syntax", where)


def _refuse_broken_strings(document: Any) -> None:
    for pointer, value in _walk(document):
        for text in (
            (value,) if isinstance(value, str) else value if isinstance(value, dict) else ()
        ):
            if "\0" in text:
                raise DocumentError("json.nul", text, pointer)
            if any("\ud800" <= c <= "\udfff" for c in text):
                raise DocumentError("json.surrogate", text, pointer)


def _walk(document: Any) -> Iterator[tuple[str, Any]]:
    """Every value with its JSON pointer, without recursion."""
    pending: list[tuple[str, Any]] = [("", document)]
    while pending:
        pointer, value = pending.pop()
        yield pointer, value
        if isinstance(value, dict):
            for key, item in value.items():
                escaped = key.replace("~", "~0").replace("/", "~1")
                pending.append((f"{pointer}/{escaped}", item))
        elif isinstance(value, list):
            pending.extend((f"{pointer}/{i}", item) for i, item in enumerate(value))
