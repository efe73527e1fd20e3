"""COCO files are read a window at a time, and as `json` reads them whole."""

import io
import json
import tracemalloc
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from vision.coco import check_document
from vision.coco.identifiers import CocoId, IdentifierError, parse_identifier
from vision.coco.json_stream import JsonStream
from vision.coco.json_text import DocumentError, parse_json
from vision.coco.sections import Sections

WINDOW_BYTES = 24
MAX_BYTES = 10_000_000

NUMBERS = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
TEXTS = st.text(max_size=12) | st.sampled_from(["}, {", '"}]', "\\", "]]", "},", "é€😀"])
LEAVES = st.none() | st.booleans() | NUMBERS | TEXTS
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)
OBJECTS = st.dictionaries(TEXTS, VALUES, max_size=4)
DOCUMENTS = st.fixed_dictionaries(
    {},
    optional={
        "annotations": st.lists(OBJECTS | VALUES, max_size=8) | VALUES,
        "categories": VALUES,
        "images": st.lists(OBJECTS, max_size=8),
        "info": VALUES,
    },
)


def read(data: bytes, window_bytes: int = WINDOW_BYTES) -> dict[str, Any]:
    """A document as its sections give it."""
    sections = Sections(io.BytesIO(data), MAX_BYTES, window_bytes)
    lists = {key: list(sections.entries(key)) for key in sections.pieces}
    for key, entries in lists.items():
        assert [pointer for pointer, _ in entries] == [f"/{key}/{i}" for i in range(len(entries))]
        assert len(entries) == sections.length(key)
    return sections.header | {key: [v for _, v in entries] for key, entries in lists.items()}


@given(DOCUMENTS, st.sampled_from([None, 1]), st.booleans(), st.integers(1, 200))
@example({"annotations": [{}]}, 1, False, 6)
def test_sections_hold_what_json_reads(
    document: dict[str, Any], indent: int | None, ascii_only: bool, window_bytes: int
):
    text = json.dumps(document, indent=indent, ensure_ascii=ascii_only)
    try:
        expected = parse_json(text.encode("utf-8", "surrogatepass"), MAX_BYTES)
    except DocumentError:
        with pytest.raises(DocumentError):
            read(text.encode("utf-8", "surrogatepass"), window_bytes)
    else:
        assert read(text.encode(), window_bytes) == expected


@given(DOCUMENTS, st.data())
def test_broken_text_is_refused_as_json_refuses_it(document: dict[str, Any], data: st.DataObject):
    text = bytearray(json.dumps(document).encode())
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(text) - 1))
        text[at : at + data.draw(st.integers(0, 2))] = data.draw(
            st.sampled_from([b"", b",", b"}", b"]", b"[", b'"', b"\\", b"1", b"N", b"\xff", b" "])
        )
        if not text:
            return
    try:
        expected = parse_json(bytes(text), MAX_BYTES)
    except DocumentError:
        with pytest.raises(DocumentError):
            read(bytes(text))
    else:
        if isinstance(expected, dict):
            assert read(bytes(text)) == expected


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        (b"", "json.empty"),
        (b"  \n ", "json.empty"),
        (b'{"images": [1, 2', "json.truncated"),
        (b'{"images": [1, 2]', "json.truncated"),
        (b'{"images": [{"a": "b', "json.truncated"),
        (b'{"images": [1 2]}', "json.syntax"),
        (b'{"images": [1,]}', "json.syntax"),
        (b"{images: []}", "json.syntax"),
        (b'{"images": []} x', "json.trailing"),
        (b'{"images": [], "images": []}', "json.duplicate_key"),
        (b'{"images": [{"a": 1, "a": 1}]}', "json.duplicate_key"),
        (b'{"images": [{"a": 1, "a": 1}, NaN]}', "json.duplicate_key"),
        (b'{"annotations": [' + b"[" * 100_000 + b"]" * 100_000 + b"]}", "json.too_deep"),
        (b'{"info": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "json.too_deep"),
        (b'{"annotations": [' + b"1" * 5000 + b"]}", "json.integer_too_long"),
        (b'{"annotations": [{"id": "\xff"}]}', "json.encoding"),
        (b'{"annotations": ["\\ud800"]}', "json.surrogate"),
        (b'["images"]', "document.type"),
        (b"5 5", "json.trailing"),
    ],
)
def test_a_broken_file_is_refused_by_its_rule(text: bytes, rule: str):
    with pytest.raises(DocumentError) as caught:
        read(text)
    assert caught.value.rule == rule


@pytest.mark.parametrize("window_bytes", [8, 4096])
def test_an_error_names_its_line_and_column(window_bytes: int):
    text = b'{"images": [\n  {"id": 1},\n  {"id": oops}\n]}'
    with pytest.raises(DocumentError) as caught:
        read(text, window_bytes)
    assert "line 3 column 10" in str(caught.value.value)


@pytest.mark.parametrize("window_bytes", [1, 16, 4096])
@pytest.mark.parametrize("text", ['{"info": "ééé😀", "images": [1, oops]}', '{"é": 1,\n"ö": é}'])
def test_columns_are_counted_in_characters_as_json_does(text: str, window_bytes: int):
    with pytest.raises(json.JSONDecodeError) as expected:
        json.loads(text)
    with pytest.raises(DocumentError) as caught:
        read(text.encode(), window_bytes)
    place = f"line {expected.value.lineno} column {expected.value.colno}:"
    assert place in str(caught.value.value)


def test_an_error_inside_an_entry_names_the_entry():
    text = b'{"annotations": [{"id": 1}, {"id": 2, "id": 3}]}'
    with pytest.raises(DocumentError) as caught:
        read(text, 4096)
    assert (caught.value.rule, caught.value.pointer) == ("json.duplicate_key", "/annotations/1")


def test_work_and_memory_grow_with_the_file_and_not_faster():
    many_members = {f"a{n}": 0 for n in range(50_000)}
    long_keys: dict[str, Any] = {"k" * 100_000: [0] * 50_000, "n": {"m" * 100_000: [1e999] * 9}}
    many_categories = {
        "images": [{"id": 1, "file_name": "a.jpg", "width": 9, "height": 9}],
        "categories": [{"id": n, "name": f"name {n}"} for n in range(40_000)],
    }
    assert read(json.dumps(many_members).encode(), 2**22) == many_members
    tracemalloc.start()
    with pytest.raises(DocumentError) as caught:
        read(json.dumps({"info": long_keys}).encode(), 2**22)
    assert tracemalloc.get_traced_memory()[1] < 30_000_000
    tracemalloc.stop()
    assert caught.value.rule == "json.not_finite"
    assert len(caught.value.pointer) < 300
    assert not check_document(json.dumps(many_categories).encode(), "a.json").rejected


def test_numbers_that_are_not_finite_are_named_with_their_entry():
    text = b'{"annotations": [{"id": 1}, {"id": 2, "area": NaN}, {"id": 3, "a": [1e999]}]}'
    sections = Sections(io.BytesIO(text), MAX_BYTES, WINDOW_BYTES)
    assert len(list(sections.entries("annotations"))) == 3
    assert {entry: found[0] for entry, found in sections.damaged.items()} == {
        "/annotations/1": "/annotations/1/area",
        "/annotations/2": "/annotations/2/a/0",
    }


@given(st.lists(st.integers(-3, 3) | st.sampled_from(["1", "a", "a ", 1.0, 2**70, None, [], {}])))
@example([1, "1", 1.0, "a", "a"])
def test_ids_that_repeat_are_known_before_the_entries_are_read(ids: list[Any]):
    document = {"annotations": [{"id": value} for value in ids] + [5, {"no": "id"}]}
    sections = Sections(io.BytesIO(json.dumps(document).encode()), MAX_BYTES, WINDOW_BYTES)
    known: list[CocoId] = []
    for value in ids:
        with suppress(IdentifierError):
            known.append(parse_identifier(value)[0])
    for coco_id in [*known, 77, "never"]:
        assert (coco_id in sections.repeated_ids) == (known.count(coco_id) > 1)


class CountedReads(io.BytesIO):
    """A file that knows the largest piece asked of it."""

    largest = 0

    def read(self, size: int | None = -1, /) -> bytes:
        assert size is not None
        assert size >= 0
        self.largest = max(self.largest, size)
        return super().read(size)


def test_the_window_grows_only_for_an_entry_that_needs_it():
    long = {"id": 1, "segmentation": [[float(n) for n in range(2000)]]}
    document = {"images": [], "annotations": [{"id": n} for n in range(1000)] + [long]}
    file = CountedReads(json.dumps(document).encode())
    sections = Sections(file, MAX_BYTES, 4096)
    assert sum(1 for _ in sections.entries("annotations")) == 1001
    assert file.largest <= 16_384


def test_most_entries_are_found_without_parsing_them(monkeypatch: pytest.MonkeyPatch):
    def slow(self: JsonStream, at_most: int | None = None) -> Any:
        raise AssertionError("entries were parsed one by one")

    document = {"annotations": [{"id": n, "segmentation": [[1.5] * 8]} for n in range(500)]}
    text = json.dumps(document).encode().replace(b"]}]}", b"]}], ")
    stream = JsonStream(io.BytesIO(text), len(b'{"annotations": ['), window_bytes=1024)
    monkeypatch.setattr(JsonStream, "_values", slow)
    assert sum(len(entries) for entries in stream.entries()) == 500
