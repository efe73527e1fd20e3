"""Read a large JSON object piece by piece, with a window of the file in memory and not the whole.

`msgspec` finds where the entries of a long list end without building them, ten times faster than
`json` would. What it takes for wrong is looked at once more by `json`: that reads NaN as well, and
says in which line and column the text is broken.
"""

import codecs
import json
import re
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO

import msgspec

from vision.coco.json_text import (
    BYTE_ORDER_MARK,
    DocumentError,
    parse_value,
    strict_decoder,
    syntax_error,
)

WINDOW_BYTES = 2**22
MAX_VALUE_BYTES = 2**28
"""Largest entry of a list, and largest value beside the lists."""

Entry = bytes | msgspec.Raw
"""JSON text of one entry of a list, not yet checked as `parse_json` does."""

_FIRST_BYTES = 2**12
_CLOSING_BRACKET = ord("]")
_FIRST_CUTS, _CUTS_TRIED = 1, 4
_INSIDE_CHARACTERS = bytes(range(0x80, 0xC0))  # every byte of a character but its first
_SPACE = re.compile(r"[ \t\r\n]*")
_SPACE_BYTES = re.compile(rb"[ \t\r\n]*")
_ENTRY_END = re.compile(rb"\}[ \t\r\n]*,")
_CUT_NUMBER = re.compile(r"[-+.0-9eE]*\Z")
_TRAILING = re.compile(r"trailing characters \(byte ([0-9]+)\)")
# An error so close to the end of the window may be an error of the window alone.
_LONGEST_TOKEN = 32


class JsonStream:
    """A place in a JSON file, from which one value after the other is taken.

    Attributes:
        offset: Number of the next byte, from 0.
    """

    def __init__(self, file: BinaryIO, offset: int = 0, window_bytes: int = WINDOW_BYTES) -> None:
        """Start at a byte of a file.

        Args:
            file: The file, opened for reading bytes; it must be able to seek.
            offset: The first byte.
            window_bytes: How much is read at once.
        """
        self._file = file
        self._read = b""  # what was read and not yet dropped
        self._at = 0  # the next byte in it
        self._window_bytes = window_bytes
        self._at_end = False
        self.offset = offset

    def place(self) -> tuple[int, int]:
        """Line and column of the next character, both from 1, as `json` counts them.

        Reads the file once more up to there: only who says what is wrong has to know.
        """
        line, characters, left = 1, 0, self.offset
        self._file.seek(0)
        while left and (part := self._file.read(min(left, WINDOW_BYTES))):
            if left == self.offset:
                part = part.removeprefix(BYTE_ORDER_MARK)
            left = self.offset - self._file.tell()
            before, newline, rest = part.rpartition(b"\n")
            if newline:
                line += before.count(b"\n") + 1
                characters = 0
            characters += len(rest.translate(None, _INSIDE_CHARACTERS))
        return line, characters + 1

    def peek(self) -> bytes:
        """The next character that is no white space, left where it is; empty at the end."""
        while True:
            space = _SPACE_BYTES.match(self._read, self._at)
            self._advance((space.end() if space else self._at) - self._at)
            if self._at < len(self._read) or self._at_end:
                return self._read[self._at : self._at + 1]
            self._grow(self._window_bytes)

    def take(self, expected: bytes) -> bytes:
        """Take one character after white space.

        Args:
            expected: The characters it may be.

        Raises:
            DocumentError: Another one follows, or the file ends.
        """
        found = self.peek()
        if not found or found not in expected:
            wanted = " or ".join(map(repr, expected.decode()))
            rule = "json.syntax" if found else "json.truncated"
            raise self._refusal(rule, f"{wanted} expected")
        self._advance(1)
        return found

    def value(self) -> Any:
        """Take one value, parsed.

        Raises:
            DocumentError: See `parse_json`, or the value is larger than `MAX_VALUE_BYTES`.
        """
        self.peek()
        (text,), count = self._values(_FIRST_BYTES, at_most=1)
        self._advance(count)
        return parse_value(text)

    def entries(self) -> Iterator[Sequence[Entry]]:
        """Take a list from behind its opening bracket up to its closing one.

        Yields:
            Some of its entries, in their order; see `entries_as`.

        Raises:
            DocumentError: See `entries_as`.
        """
        return self.entries_as(msgspec.Raw)

    def entries_as(self, kind: Any) -> Iterator[Sequence[Any]]:
        """Take a list, its entries decoded by `msgspec` where that can be done.

        Args:
            kind: What entries are decoded as; text where they do not fit it.

        Yields:
            Some of the entries, in their order; until the next ones are asked for, `offset` is
            where these begin.

        Raises:
            DocumentError: This is no list, or one entry is larger than `MAX_VALUE_BYTES`.
        """
        if self.peek() == b"]":
            self.take(b"]")
            return
        while True:
            self._grow(self._window_bytes)
            found = self._whole_entries(kind) or self._whole_entries(msgspec.Raw)
            entries, count = found or self._values(self._window_bytes)
            yield entries
            self._advance(count)
            if self.take(b",]") == b"]":
                return
            self.peek()

    def _whole_entries(self, kind: Any) -> tuple[Sequence[Any], int] | None:
        """The entries that end in the window, and how many bytes they take up."""
        if self._read.startswith(b"]", self._at):
            return None  # after a comma
        text = bytearray(b"[")
        text += memoryview(self._read)[self._at : self._at + self._window_bytes]
        # Of a long list nearly every window holds a part from its middle: that is tried first.
        if not self._at_end and (found := _decoded_middle(text, kind, _FIRST_CUTS)):
            return found
        try:
            return msgspec.json.decode(text, type=list[kind]), len(text.rstrip()) - 2
        except msgspec.ValidationError:
            return None
        except msgspec.DecodeError as error:
            ended = _TRAILING.search(str(error))
        except (UnicodeDecodeError, RecursionError):
            return None
        if ended:
            # The list ends inside the window, and the rest of the document follows.
            end = text.rfind(b"]", 0, int(ended[1]) - 1)
            return _decoded_entries(text, end + 1, kind)
        return _decoded_middle(text, kind, _CUTS_TRIED)

    def _values(self, size: int, at_most: int | None = None) -> tuple[list[bytes], int]:
        """The next values, at least one, and how many bytes they take up with their commas.

        Args:
            size: Bytes to look at; more if no value ends in them.
            at_most: Number of values.
        """
        while True:
            self._grow(size)
            window = self._read[self._at : self._at + size]
            at_end = self._at_end and self._at + size >= len(self._read)
            text, broken = _decoded(window, at_end)
            values: list[bytes] = []
            end = 0
            try:
                while at_most is None or len(values) < at_most:
                    start = _end_of_space(text, end + 1 if values else 0)
                    _, stop = strict_decoder.raw_decode(text, start)
                    # A number at the end of the window may go on behind it.
                    if not at_end and _CUT_NUMBER.match(text, stop):
                        break
                    values.append(text[start:stop].encode())
                    end = _end_of_space(text, stop)
                    if text[end : end + 1] != ",":
                        break
            except json.JSONDecodeError as error:
                near_end = error.pos >= len(text) - _LONGEST_TOKEN
                cut = near_end or error.msg.startswith("Unterminated string")
                if not values and cut and broken:
                    raise self._refusal("json.encoding", broken) from None
                if not values and (at_end or not cut):
                    line, column = self.place()
                    raise syntax_error(error, line - 1, column - 1) from None
            except RecursionError:
                if not values:
                    raise self._refusal("json.too_deep", "nesting beyond the limit") from None
            except DocumentError as error:
                if not values:
                    raise self._refusal(error.rule, error.value) from None
            except ValueError as error:  # int() refuses more digits than the interpreter's limit
                if not values:
                    raise self._refusal("json.integer_too_long", error) from None
            if values:
                return values, len(text[:end].encode())
            if size >= MAX_VALUE_BYTES:
                raise self._refusal("json.too_large", "one value")
            size *= 2

    def _refusal(self, rule: str, value: object) -> DocumentError:
        shown = value if isinstance(value, str) else repr(value)
        line, column = self.place()
        return DocumentError(rule, f"line {line} column {column}: {shown}")

    def _grow(self, size: int) -> None:
        """Read on until `size` bytes lie ahead or the file ends."""
        missing = size - (len(self._read) - self._at)
        if missing <= 0 or self._at_end:
            return
        parts = [self._read[self._at :]]
        self._file.seek(self.offset + len(parts[0]))
        while missing > 0 and not self._at_end:
            parts.append(self._file.read(missing))
            self._at_end = not parts[-1]
            missing -= len(parts[-1])
        self._read, self._at = b"".join(parts), 0

    def _advance(self, count: int) -> None:
        self._at += count
        self.offset += count


def _decoded(window: bytes, at_end: bool) -> tuple[str, bytes]:
    """The text of a window up to the first bytes that are no UTF-8, and these."""
    try:
        return codecs.utf_8_decode(window, "strict", at_end)[0], b""
    except UnicodeDecodeError as error:
        return window[: error.start].decode(), window[error.start : error.start + 8]


def _end_of_space(text: str, start: int) -> int:
    found = _SPACE.match(text, start)
    return found.end() if found else start


def _decoded_middle(text: bytearray, kind: Any, at_most: int) -> tuple[list[Any], int] | None:
    """The entries of a list that goes on behind the window; see `_decoded_entries`.

    Args:
        text: The window; it is changed in what lies behind the entries.
        kind: What entries are decoded as.
        at_most: Of how many objects it is tried whether an entry ends where they do.
    """
    end = len(text)
    for _ in range(at_most):
        end = text.rfind(b"}", 0, end)
        if end < 0:
            return None
        if not _ENTRY_END.match(text, end):
            continue
        # Cut at the end of an entry this is a list; cut anywhere else it is no JSON.
        behind, text[end + 1] = text[end + 1], _CLOSING_BRACKET
        if found := _decoded_entries(text, end + 2, kind):
            return found
        text[end + 1] = behind
    return None


def _decoded_entries(text: bytearray, end: int, kind: Any) -> tuple[list[Any], int] | None:
    """The entries of the list `text[:end]` and their bytes; None if this is no such list."""
    try:
        return msgspec.json.decode(memoryview(text)[:end], type=list[kind]), end - 2
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
