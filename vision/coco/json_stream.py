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

from vision.coco.json_text import DocumentError, parse_value, strict_decoder, syntax_error

WINDOW_BYTES = 2**22
MAX_VALUE_BYTES = 2**28
"""Largest entry of a list, and largest value beside the lists."""

Entry = bytes | msgspec.Raw
"""JSON text of one entry of a list, not yet checked as `parse_json` does."""

_CUTS_TRIED = 4
_SPACE = re.compile(r"[ \t\r\n]*")
_SPACE_BYTES = b" \t\r\n"
_ENTRY_END = re.compile(rb"\}[ \t\r\n]*,")
_CUT_NUMBER = re.compile(r"[-+.0-9eE]*\Z")
_TRAILING = re.compile(r"trailing characters \(byte ([0-9]+)\)")
# An error so close to the end of the window may be an error of the window alone.
_LONGEST_TOKEN = 32


class JsonStream:
    """A place in a JSON file, from which one value after the other is taken.

    Attributes:
        offset: Number of the next byte, from 0.
        line: Number of the line it lies in, from 1.
        column: Its number in the line, in bytes, from 1.
    """

    def __init__(
        self, file: BinaryIO, offset: int = 0, line: int = 1, window_bytes: int = WINDOW_BYTES
    ) -> None:
        """Start at a byte of a file.

        Args:
            file: The file, opened for reading bytes; it must be able to seek.
            offset: The first byte.
            line: Number of the line it lies in.
            window_bytes: How much is read at once.
        """
        self._file = file
        self._window = b""
        self._window_bytes = window_bytes
        self._at_end = False
        self.offset = offset
        self.line = line
        self.column = 1

    def peek(self) -> bytes:
        """The next character that is no white space, left where it is; empty at the end."""
        while True:
            rest = self._window.lstrip(_SPACE_BYTES)
            self._advance(len(self._window) - len(rest))
            if rest or self._at_end:
                return rest[:1]
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
            raise DocumentError(rule, f"line {self.line} column {self.column}: {wanted} expected")
        self._advance(1)
        return found

    def value(self) -> Any:
        """Take one value, parsed.

        Raises:
            DocumentError: See `parse_json`, or the value is larger than `MAX_VALUE_BYTES`.
        """
        self.peek()
        (text,), count = self._values(1)
        self._advance(count)
        return parse_value(text)

    def entries(self) -> Iterator[Sequence[Entry]]:
        """Take a list from behind its opening bracket up to its closing one.

        Yields:
            Some of its entries, in their order; until the next ones are asked for, `offset` and
            `line` are where these begin.

        Raises:
            DocumentError: This is no list, or one entry is larger than `MAX_VALUE_BYTES`.
        """
        if self.peek() == b"]":
            self.take(b"]")
            return
        while True:
            self._grow(self._window_bytes)
            entries, count = self._whole_entries() or self._values()
            yield entries
            self._advance(count)
            if self.take(b",]") == b"]":
                return
            self.peek()

    def _whole_entries(self) -> tuple[Sequence[Entry], int] | None:
        """The entries that end in the window, and how many bytes they take up."""
        text = b"[" + self._window
        if self._window.startswith(b"]"):
            return None  # after a comma
        try:
            return _raw_entries(text)
        except msgspec.DecodeError as error:
            found = str(error)
        except RecursionError:
            return None
        for cut in _cuts(text, found):
            try:
                return _raw_entries(cut)
            except (msgspec.DecodeError, RecursionError):
                continue
        return None

    def _values(self, at_most: int | None = None) -> tuple[list[bytes], int]:
        """The next values, at least one, and how many bytes they take up with their commas."""
        while True:
            text = self._text()
            values: list[bytes] = []
            end = 0
            try:
                while at_most is None or len(values) < at_most:
                    start = _end_of_space(text, end + 1 if values else 0)
                    _, stop = strict_decoder.raw_decode(text, start)
                    # A number at the end of the window may go on behind it.
                    if not self._at_end and _CUT_NUMBER.match(text, stop):
                        break
                    values.append(text[start:stop].encode())
                    end = _end_of_space(text, stop)
                    if text[end : end + 1] != ",":
                        break
            except json.JSONDecodeError as error:
                near_end = error.pos >= len(text) - _LONGEST_TOKEN
                cut = near_end or error.msg.startswith("Unterminated string")
                if not values and (self._at_end or not cut):
                    raise syntax_error(error, self.line - 1, self.column - 1) from None
            except RecursionError:
                raise DocumentError("json.too_deep", "nesting beyond the limit") from None
            except DocumentError:
                raise
            except ValueError as error:  # int() refuses more digits than the interpreter's limit
                raise DocumentError("json.integer_too_long", error) from None
            if values:
                return values, len(text[:end].encode())
            if len(self._window) >= MAX_VALUE_BYTES:
                raise DocumentError("json.too_large", f"line {self.line}: one value")
            self._grow(2 * len(self._window))

    def _text(self) -> str:
        try:
            return codecs.utf_8_decode(self._window, "strict", self._at_end)[0]
        except UnicodeDecodeError as error:
            broken = self._window[error.start : error.start + 8]
            raise DocumentError("json.encoding", broken) from None

    def _grow(self, size: int) -> None:
        """Read on until the window has `size` bytes or the file ends."""
        parts = [self._window]
        missing = size - len(self._window)
        self._file.seek(self.offset + len(self._window))
        while missing > 0 and not self._at_end:
            parts.append(self._file.read(missing))
            self._at_end = not parts[-1]
            missing -= len(parts[-1])
        self._window = b"".join(parts)

    def _advance(self, count: int) -> None:
        if newlines := self._window.count(b"\n", 0, count):
            self.line += newlines
            self.column = count - self._window.rfind(b"\n", 0, count)
        else:
            self.column += count
        self._window = self._window[count:]
        self.offset += count


def _end_of_space(text: str, start: int) -> int:
    found = _SPACE.match(text, start)
    return found.end() if found else start


def _cuts(text: bytes, error: str) -> Iterator[bytes]:
    """Lists that the beginning of a text may hold: the whole one, or some of its entries."""
    if ended := _TRAILING.search(error):
        # The list ends inside the window, and the rest of the document follows.
        yield text[: text.rfind(b"]", 0, int(ended[1]) - 1) + 1]
        return
    end = len(text)
    for _ in range(_CUTS_TRIED):
        # A cut at the end of an entry gives a list; any other cut gives no JSON.
        end = text.rfind(b"}", 0, end)
        if end < 0:
            return
        if _ENTRY_END.match(text, end):
            yield text[: end + 1] + b"]"


def _raw_entries(text: bytes) -> tuple[list[msgspec.Raw], int]:
    return msgspec.json.decode(text, type=list[msgspec.Raw]), len(text) - 2
