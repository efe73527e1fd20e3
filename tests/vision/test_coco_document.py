"""The rows of the bad-input matrix that concern a COCO file as a whole, and its images."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.coco_documents import GOOD, SQUARE, annotation, check, coco, found, image, without
from vision.coco import RULES
from vision.coco.findings import MAX_VALUE_CHARACTERS
from vision.masks import polygons_to_rle


def test_a_good_document_has_no_findings():
    result = check(coco())
    assert result.findings == []
    (page,), (panel,) = result.images, result.annotations
    assert (page.id, page.file_name, page.width, page.height) == (1, "page.png", 40, 30)
    assert (panel.category, panel.area_px, panel.iscrowd) == ("panel", 100, False)
    assert panel.bbox_xywh == (10, 10, 10, 10)
    assert panel.rle == polygons_to_rle([SQUARE], 30, 40)
    assert panel.pointer == "/annotations/0"
    assert result.categories == {1: "panel"}
    assert not result.rejected


@pytest.mark.parametrize(
    ("data", "rule"),
    [
        (b"", "json.empty"),
        (b" \n", "json.empty"),
        (GOOD[:-20], "json.truncated"),
        (GOOD[:40], "json.truncated"),
        (GOOD + b"x", "json.trailing"),
        (GOOD + GOOD, "json.trailing"),
        (GOOD.replace(b":", b"=", 1), "json.syntax"),
        (GOOD.decode().encode("utf-16"), "json.encoding"),
        (GOOD.decode().encode("utf-16-le"), "json.encoding"),
        (GOOD.replace(b"panel", b"\xff\xfe"), "json.encoding"),
        (GOOD.replace(b"panel", rb"\ud800"), "json.surrogate"),
        (GOOD.replace(b"panel", rb"\u0000"), "json.nul"),
        (GOOD.replace(b'"name"', rb'"\udfff": 1, "name"'), "json.surrogate"),
        (GOOD.replace(b'"iscrowd"', b'"iscrowd": 1, "iscrowd"'), "json.duplicate_key"),
        (GOOD.replace(b'{"images"', b'{"info": NaN, "images"'), "json.not_finite"),
        (GOOD.replace(b'{"images"', b'{"info": [1e999], "images"'), "json.not_finite"),
        (b"[" * 100_000 + b"]" * 100_000, "json.too_deep"),
        (GOOD.replace(b'"area": 100', b'"area": ' + b"1" * 4301), "json.integer_too_long"),
        (b"[" + GOOD + b"]", "document.type"),
        (b"null", "document.type"),
        (b"\x1f\x8b\x08\x00", "json.compressed"),
        (b"PK\x03\x04", "json.compressed"),
    ],
)
def test_broken_files_are_refused_with_one_finding(data: bytes, rule: str):
    result = check(data)
    assert [finding.rule for finding in result.findings] == [rule]
    assert result.rejected
    assert (result.images, result.annotations, result.categories) == ([], [], {})


def test_a_file_beyond_the_size_limit_is_not_parsed():
    assert found(check(coco(), max_bytes=50)) == [("json.too_large", "")]


@pytest.mark.parametrize(
    ("document", "rule", "pointer"),
    [
        (without(coco(), "images"), "document.no_images", "/images"),
        (coco(images=[]), "document.no_images", "/images"),
        (without(coco(), "categories"), "document.no_categories", "/categories"),
        (coco(annotations={}), "document.annotations", "/annotations"),
        (coco(images=[image(id=1), image(id=1)]), "image.duplicate_id", "/images/1/id"),
        (coco(images=[image(id=1), image(id="1")]), "image.duplicate_id", "/images/1/id"),
        (coco(images=[image(id=2**63)]), "id.too_large", "/images/0/id"),
        (coco(annotations=[annotation(id=2**64)]), "id.too_large", "/annotations/0/id"),
        (
            coco(images=[image(id=1), image(id=2)]),
            "image.duplicate_file",
            "/images/1/file_name",
        ),
        (
            coco(categories=[{"id": 1, "name": "a"}, {"id": 1, "name": "b"}]),
            "category.duplicate_id",
            "/categories/1/id",
        ),
        (coco(categories=[{"id": None, "name": "a"}]), "category.id", "/categories/0/id"),
        (coco(categories=[{"id": 1, "name": ""}]), "category.name", "/categories/0/name"),
        (coco(categories=[{"id": 1, "name": "x" * 10_000}]), "category.name", "/categories/0/name"),
        (coco(categories=["panel"]), "category.type", "/categories/0"),
        (
            coco(images=[image(id=1, file_name="\u00e9.png"), image(file_name="e\u0301.png")]),
            "path.same_when_normalised",
            "/images/1/file_name",
        ),
    ],
)
def test_ambiguous_documents_are_refused(document: dict[str, Any], rule: str, pointer: str):
    result = check(document)
    assert found(result) == [(rule, pointer)]
    assert result.rejected


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("", "path.empty"),
        ("../page.png", "path.parent"),
        ("images/../../page.png", "path.parent"),
        ("/etc/passwd", "path.absolute"),
        ("//host/share.png", "path.absolute"),
        ("..\\page.png", "path.backslash"),
        ("C:\\page.png", "path.drive"),
        ("C:/page.png", "path.drive"),
        ("a" * 1025, "path.too_long"),
        ("漫" * 342, "path.too_long"),
        ("%2e%2e/page.png", "path.encoded_parent"),
        ("%252e%252e%252fpage.png", "path.encoded_parent"),
        ("..%2fpage.png", "path.encoded_parent"),
        ("page\n.png", "path.control_character"),
        ("page\u202egnp.exe", "path.control_character"),
        ("folder./page.png", "path.trailing"),
        ("page.png ", "path.trailing"),
        ("http://169.254.169.254/latest", "path.url"),
        ("file:///etc/passwd", "path.url"),
        ("data:image/png;base64,AAAA", "path.url"),
    ],
)
def test_file_names_that_leave_the_drop_are_refused(name: str, rule: str):
    result = check(coco(images=[image(id=1, file_name=name)]))
    assert found(result) == [(rule, "/images/0/file_name")]
    assert result.rejected


@pytest.mark.parametrize(
    "name", ["a/b/c.png", "a b+c%20d.png", "ページ_1.png", "..page..png", "100%.png", "./page.png"]
)
def test_unusual_but_plain_file_names_are_accepted(name: str):
    result = check(coco(images=[image(id=1, file_name=name)]))
    assert result.findings == []
    assert result.images[0].file_name == name


def test_names_ending_in_a_space_are_fine_in_an_object_store():
    document = coco(images=[image(id=1, file_name="page.png ")])
    assert check(document, local=False).findings == []


@pytest.mark.parametrize(
    ("entry", "rule", "pointer"),
    [
        (image(width=0), "image.size", "/images/1"),
        (image(height=-5), "image.size", "/images/1"),
        (image(width=40.5), "image.size", "/images/1"),
        (image(width="40"), "image.size", "/images/1"),
        (image(width=2**20, height=2**20), "image.too_large", "/images/1"),
        (image(width=None), "image.size_unknown", "/images/1"),
        (without(image(), "height"), "image.size_unknown", "/images/1"),
        (image(id=None), "image.id", "/images/1/id"),
        (image(id=True), "image.id", "/images/1/id"),
        (image(id=1.5), "image.id", "/images/1/id"),
        (without(image(), "file_name"), "image.file_name", "/images/1/file_name"),
        ("other.png", "image.type", "/images/1"),
        (image(gamma=float("nan")), "image.not_finite", "/images/1/gamma"),
    ],
)
def test_a_bad_image_is_set_aside_and_the_rest_is_kept(entry: Any, rule: str, pointer: str):
    result = check(coco(images=[*coco()["images"], entry]))
    assert found(result) == [(rule, pointer)]
    assert result.findings[0].verdict == "image"
    assert len(result.images) == len(result.annotations) == 1


def test_annotations_of_an_image_set_aside_are_accounted_for():
    document = coco(
        images=[*coco()["images"], image(width=0)],
        annotations=[annotation(), annotation(id=2, image_id=2)],
    )
    result = check(document)
    assert found(result) == [
        ("image.size", "/images/1"),
        ("annotation.image_quarantined", "/annotations/1/image_id"),
    ]


def test_missing_sizes_come_from_the_decoded_files():
    document = coco(images=[{"id": 1, "file_name": "page.png"}])
    result = check(document, sizes={"page.png": (40, 30)})
    assert found(result) == [("image.size_filled", "/images/0")]
    assert (result.images[0].width, result.images[0].height) == (40, 30)
    assert result.annotations[0].area_px == 100


def test_a_size_that_differs_from_the_file_sets_the_image_aside():
    result = check(coco(), sizes={"page.png": (30, 40)})
    assert found(result)[0] == ("image.size_differs", "/images/0")
    assert (result.images, result.annotations) == ([], [])


def test_a_byte_order_mark_is_skipped():
    result = check(b"\xef\xbb\xbf" + GOOD)
    assert found(result) == [("json.byte_order_mark", "")]
    assert len(result.annotations) == 1


def test_names_that_differ_only_in_case_are_noted():
    result = check(coco(images=[*coco()["images"], image(file_name="PAGE.png")]))
    assert found(result) == [("path.same_when_lowercased", "/images/1/file_name")]


def test_categories_of_one_name_are_kept_and_noted():
    categories = [{"id": 1, "name": "panel"}, {"id": 2, "name": "panel"}]
    result = check(coco(categories=categories))
    assert found(result) == [("category.same_name", "/categories/1/name")]
    assert result.categories == {1: "panel", 2: "panel"}


def test_hostile_category_names_stay_text_and_hidden_characters_are_noted():
    names = ["<script>alert(1)</script>", "'); drop table segments; --", "pa\u200bnel"]
    categories = [{"id": i, "name": name} for i, name in enumerate(names)]
    result = check(coco(categories=categories, annotations=[]))
    assert list(result.categories.values()) == names
    assert found(result) == [("category.hidden_characters", "/categories/2/name")]


def test_missing_annotations_negative_ids_and_unknown_keys_are_fine():
    document = without(coco(images=[image(id=-3)], licenses=[], info={"x": [1]}), "annotations")
    result = check(document)
    assert result.findings == []
    assert result.annotations == []
    assert [i.id for i in result.images] == [-3]


def test_ids_that_are_no_numbers_are_kept_as_text():
    document = coco(
        images=[image(id="page-a", file_name="page.png", split="val")],
        annotations=[annotation(id="panel/1", image_id="page-a")],
    )
    result = check(document)
    assert result.findings == []
    assert (result.images[0].id, result.images[0].split) == ("page-a", "val")
    assert result.annotations[0].id == "panel/1"


def test_values_in_findings_are_short_and_escaped():
    bad = annotation(id=2, segmentation="\u202e\x1b[2J" + "x" * 500)
    result = check(coco(annotations=[bad]))
    (value,) = (f.value for f in result.findings)
    assert len(value) <= MAX_VALUE_CHARACTERS
    assert value.isprintable()


NESTED: list = []
for _ in range(800):
    NESTED = [NESTED]

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**65), 2**65)
    | st.floats()
    | st.sampled_from([10**400, -(10**400), NESTED])
    | st.sampled_from(["", "1", "x", "d1", "../x", "page.png"]),
    lambda inner: st.lists(inner, max_size=7) | st.dictionaries(st.sampled_from("ab"), inner),
    max_leaves=10,
)
places = st.sampled_from(
    [("images", 0, key) for key in ("id", "file_name", "width", "height", "split")]
    + [("annotations", 0, key) for key in annotation()]
    + [("categories", 0, key) for key in ("id", "name")]
    + [("images", 0), ("annotations", 0), ("categories", 0)]
    + [("images",), ("annotations",), ("categories",)]
)


@given(st.lists(st.tuples(places, json_values), min_size=1, max_size=3))
@settings(max_examples=300)
def test_any_value_in_any_place_ends_in_findings_and_never_in_an_error(changes: list):
    document = coco()
    for path, value in changes:
        target: Any = document
        try:
            for step in path[:-1]:
                target = target[step]
            target[path[-1]] = value
        except (TypeError, KeyError, IndexError):
            continue
    result = check(document)
    assert all(finding.rule in RULES for finding in result.findings)
    if result.rejected:
        assert len(result.findings) == 1
        assert (result.images, result.annotations) == ([], [])


@given(st.data())
@settings(max_examples=300)
def test_damaged_bytes_end_in_findings_and_never_in_an_error(data: st.DataObject):
    damaged = bytearray(GOOD)
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    result = check(bytes(damaged))
    assert result.findings or result.annotations or result.images
