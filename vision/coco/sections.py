"""The sections of a COCO file: its two long lists entry by entry, the rest at once."""

from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import SEEK_END
from typing import Any, BinaryIO

import msgspec
import numpy as np

from vision.coco.identifiers import CocoId, IdentifierError, parse_identifier
from vision.coco.json_stream import WINDOW_BYTES, Entry, JsonStream
from vision.coco.json_text import (
    BYTE_ORDER_MARK,
    DocumentError,
    check_start,
    not_finite,
    parse_value,
)

_LISTS = ("images", "annotations")
_FIRST_BYTES = 4096


@dataclass(frozen=True)
class _Place:
    """Where a list begins, behind its bracket."""

    offset: int
    line: int


class _WithId(msgspec.Struct):
    id: int | float | str | bool | None = None


class Sections:
    """A COCO file, of which only one window is in memory at any time.

    Attributes:
        header: All members of the document, parsed; of the lists `images` and `annotations` only
            that they are lists.
        lengths: Number of entries of `images` and of `annotations`, where these are lists.
        repeated_ids: Ids that more than one entry of `annotations` has.
        damaged: For each entry with a number that is not finite, by pointer: the pointer to the
            number, and the number. Known of an entry from when it has been read.
        has_byte_order_mark: Whether the file starts with one.
    """

    def __init__(self, file: BinaryIO, max_bytes: int, window_bytes: int = WINDOW_BYTES) -> None:
        """Look through a file once.

        Args:
            file: The file, opened for reading bytes; it must be able to seek.
            max_bytes: Largest file taken.
            window_bytes: How much of it is read at once.

        Raises:
            DocumentError: The file is too large, no complete JSON object, repeats a key in it, or
                has a number beside the lists that is not finite.
        """
        self._file = file
        self._window_bytes = window_bytes
        self._places: dict[str, _Place] = {}
        self.header: dict[str, Any] = {}
        self.lengths: dict[str, int] = {}
        self.repeated_ids: frozenset[CocoId] = frozenset()
        self.damaged: dict[str, tuple[str, float]] = {}
        size_bytes = file.seek(0, SEEK_END)
        file.seek(0)
        start = file.read(_FIRST_BYTES)
        check_start(start, size_bytes, max_bytes)
        self.has_byte_order_mark = start.startswith(BYTE_ORDER_MARK)
        first = len(BYTE_ORDER_MARK) if self.has_byte_order_mark else 0
        stream = JsonStream(file, first, window_bytes=window_bytes)
        if not stream.peek():
            raise DocumentError("json.empty", f"{size_bytes} bytes")
        if stream.peek() == b"{":
            self._read_members(stream)
        else:
            raise _no_object(stream)
        if stream.peek():
            raise DocumentError("json.trailing", f"line {stream.line} column {stream.column}")
        self._check_header()

    def entries(self, key: str) -> Iterator[tuple[str, Any]]:
        """Parse the entries of `images` or `annotations`, one by one.

        Yields:
            JSON pointer and value.

        Raises:
            DocumentError: See `parse_json`.
        """
        index = 0
        for texts in self._texts(key):
            for text in texts:
                data = bytes(text)
                pointer = f"/{key}/{index}"
                value = parse_value(data, pointer)
                for found in not_finite(value, data, pointer):
                    self.damaged[pointer] = found
                yield pointer, value
                index += 1

    def _texts(self, key: str) -> Iterator[Sequence[Entry]]:
        place = self._places[key]
        stream = JsonStream(self._file, place.offset, place.line, self._window_bytes)
        yield from stream.entries()

    def _read_members(self, stream: JsonStream) -> None:
        stream.take(b"{")
        if stream.peek() == b"}":
            stream.take(b"}")
            return
        while True:
            if stream.peek() != b'"':
                stream.take(b'"')
            key = stream.value()
            if key in self.header:
                raise DocumentError("json.duplicate_key", key)
            stream.take(b":")
            if key in _LISTS and stream.peek() == b"[":
                self._read_list(key, stream)
            else:
                self.header[key] = stream.value()
            if stream.take(b",}") == b"}":
                return

    def _read_list(self, key: str, stream: JsonStream) -> None:
        stream.take(b"[")
        self._places[key] = _Place(stream.offset, stream.line)
        self.header[key] = []
        self.lengths[key] = 0
        ids = _Ids()
        for texts in stream.entries():
            self.lengths[key] += len(texts)
            if key == "annotations":
                for text in texts:
                    ids.add(text)
        if key == "annotations":
            self.repeated_ids = ids.repeated()

    def _check_header(self) -> None:
        for pointer, value in not_finite(self.header):
            # SA-1B has one image to a document, which is not in a list.
            if not pointer.startswith("/image/"):
                raise DocumentError("json.not_finite", value, pointer)
            self.damaged["/image"] = (pointer, value)


class _Ids:
    """Ids seen so far, eight bytes each: a file may have millions."""

    def __init__(self) -> None:
        self._numbers = array("q")
        self._texts: Counter[str] = Counter()

    def add(self, entry: Entry) -> None:
        """Remember the id of an entry, if it has one that can be told at a glance."""
        try:
            found = msgspec.json.decode(entry, type=_WithId).id
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return  # the entry is refused when it is read
        try:
            identifier, _ = parse_identifier(found)
        except IdentifierError:
            return
        if isinstance(identifier, int):
            self._numbers.append(identifier)
        else:
            self._texts[identifier] += 1

    def repeated(self) -> frozenset[CocoId]:
        """Those added more than once."""
        numbers, times = np.unique(np.frombuffer(self._numbers, np.int64), return_counts=True)
        texts = [text for text, times in self._texts.items() if times > 1]
        return frozenset([*numbers[times > 1].tolist(), *texts])


def _no_object(stream: JsonStream) -> DocumentError:
    value = stream.value()
    if stream.peek():
        return DocumentError("json.trailing", f"line {stream.line} column {stream.column}")
    return DocumentError("document.type", type(value).__name__)
