"""The sections of a COCO file: its two long lists entry by entry, the rest at once."""

from collections.abc import Iterator
from dataclasses import dataclass
from io import SEEK_END
from itertools import chain, islice
from typing import Any, BinaryIO

import msgspec

from vision.coco.json_stream import WINDOW_BYTES, Entry, JsonStream
from vision.coco.json_text import (
    BYTE_ORDER_MARK,
    DocumentError,
    check_start,
    not_finite,
    parse_value,
)
from vision.coco.repeated_ids import IdCounter, RepeatedIds

_LISTS = ("images", "annotations")
_FIRST_BYTES = 4096


@dataclass(frozen=True)
class Piece:
    """Some entries of a list, one after the other.

    Attributes:
        offset: Their first byte in the file.
        first: Number of the first entry in the list, from 0.
        count: Number of entries.
        window_bytes: How much of the file is read at once.
    """

    offset: int
    first: int
    count: int
    window_bytes: int


def texts_of(file: BinaryIO, key: str, piece: Piece) -> Iterator[tuple[str, bytes]]:
    """JSON pointer and text of the entries of a piece of a list."""
    stream = JsonStream(file, piece.offset, piece.window_bytes)
    texts = islice(chain.from_iterable(stream.entries()), piece.count)
    for index, text in enumerate(texts, start=piece.first):
        yield f"/{key}/{index}", bytes(text)


class _WithId(msgspec.Struct):
    id: int | float | str | bool | None = None


class Sections:
    """A COCO file, of which only one window is in memory at any time.

    Attributes:
        header: All members of the document, parsed; of the lists `images` and `annotations` only
            that they are lists.
        pieces: Of `images` and of `annotations`, where these are lists, the pieces they were read
            in.
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
        self.header: dict[str, Any] = {}
        self.pieces: dict[str, list[Piece]] = {}
        self.repeated_ids = RepeatedIds()
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
            raise _trailing(stream)
        self._check_header()

    def texts(self, key: str) -> Iterator[tuple[str, bytes]]:
        """JSON pointer and text of each entry of `images` or `annotations`."""
        for piece in self.pieces[key]:
            yield from texts_of(self._file, key, piece)

    def entries(self, key: str) -> Iterator[tuple[str, Any]]:
        """Parse the entries of `images` or `annotations`, one by one.

        Yields:
            JSON pointer and value.

        Raises:
            DocumentError: See `parse_json`.
        """
        for pointer, text in self.texts(key):
            value = parse_value(text, pointer)
            if found := next(not_finite(value, text, pointer), None):
                self.damaged[pointer] = found
            yield pointer, value

    def length(self, key: str) -> int:
        """Number of entries of a list; 0 where it is none."""
        return sum(piece.count for piece in self.pieces.get(key, ()))

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
        self.header[key] = []
        pieces = self.pieces[key] = []
        ids = IdCounter()
        first = 0
        for entries in stream.entries_as(_WithId if key == "annotations" else msgspec.Raw):
            count = len(entries)
            pieces.append(Piece(stream.offset, first, count, self._window_bytes))
            first += count
            for entry in entries if key == "annotations" else ():
                ids.add(entry.id if isinstance(entry, _WithId) else _id_at_a_glance(entry))
        if key == "annotations":
            self.repeated_ids = ids.repeated()

    def _check_header(self) -> None:
        for pointer, value in not_finite(self.header):
            # SA-1B has one image to a document, which is not in a list.
            if not pointer.startswith("/image/"):
                raise DocumentError("json.not_finite", value, pointer)
            self.damaged["/image"] = (pointer, value)


def _id_at_a_glance(entry: Entry) -> object:
    """The id of an entry; None where only a full look could tell."""
    try:
        return msgspec.json.decode(entry, type=_WithId).id
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def _no_object(stream: JsonStream) -> DocumentError:
    value = stream.value()
    if stream.peek():
        return _trailing(stream)
    return DocumentError("document.type", type(value).__name__)


def _trailing(stream: JsonStream) -> DocumentError:
    line, column = stream.place()
    return DocumentError("json.trailing", f"line {line} column {column}")
