"""The quick way to a mask agrees with the full check, or leaves the annotation to it."""

import json
from random import Random

import pytest

from tests.test_mutations import mutated
from vision.coco.entries import DocumentFacts, EntryReader
from vision.coco.findings import FindingLog
from vision.coco.json_text import DocumentError
from vision.coco.mask_files import MaskFiles
from vision.coco.quick_masks import quick_mask
from vision.coco.records import CocoImage
from vision.coco.repeated_ids import RepeatedIds
from vision.masks.runs import canonical_runs, runs_to_rle

HEIGHT, WIDTH = 12, 16
SIZES = {1: (HEIGHT, WIDTH)}
IMAGES = {1: CocoImage(1, "a.png", WIDTH, HEIGHT)}
POLYGON = [[1, 1, 9, 1, 9, 8, 1, 8]]
FACTS = DocumentFacts(IMAGES, frozenset(), {1: "cat"}, RepeatedIds(), False)


def entry(**changes: object) -> dict[str, object]:
    plain = {"id": 7, "image_id": 1, "category_id": 1, "iscrowd": 0, "area": 56.0}
    return plain | {"bbox": [1, 1, 8, 7], "segmentation": POLYGON} | changes


def full_check(text: bytes) -> bytes | str:
    """The mask, or the rule that the annotation breaks."""
    log = FindingLog("a.json")
    try:
        found = list(EntryReader(FACTS, log, MaskFiles(None)).read("/annotations/0", text))
    except DocumentError as error:
        return error.rule
    return found[0].rle if found else log.findings()[0].rule


def compare(text: bytes) -> bool:
    """Whether the quick way gives a mask, after comparing it with the full check's."""
    quick = quick_mask(text, SIZES, {1})
    if quick is None:
        return False
    assert runs_to_rle(canonical_runs(quick.runs)) == full_check(text), text
    return True


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"segmentation": [[2.5, 2, 6, 3, 4, 9], [8, 8, 11, 8, 11, 11]]},
        {"segmentation": {"size": [12, 16], "counts": [50, 20, 122]}, "iscrowd": 1},
        {"segmentation": {"size": [12, 16], "counts": "b1d0j3"}},
        {"score": 0.5},
    ],
)
def test_usual_annotations_take_the_quick_way(changes: dict[str, object]):
    assert compare(json.dumps(entry(**changes)).encode())


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(entry(iscrowd=2)),
        json.dumps(entry(id=2**70)),
        json.dumps(entry(id=True)),
        json.dumps(entry(id="7")),
        json.dumps(entry(bbox=[1, 1, -5, 3])),
        json.dumps(entry(bbox="x")),
        json.dumps(entry(score="hi")),
        json.dumps(entry(area=float("inf"))),
        json.dumps(entry(area=float("nan"))),
        json.dumps(entry(note="\0")),
        json.dumps(entry(segments_info=[])),
        json.dumps(entry(segmentation_file="m.png")),
        json.dumps(entry(category_id=2)),
        json.dumps(entry(image_id=2)),
        json.dumps(entry(segmentation=[])),
        json.dumps(entry(segmentation=[[30, 30, 40, 30, 40, 40]])),
        json.dumps(entry())[:-1] + ', "id": 8}',
        json.dumps(entry())[:-1] + ', "id" : 8}',
        json.dumps(entry())[:-1] + ', "\\u0069d": 8}',
        json.dumps(entry()).replace("56.0", "1e999"),
        json.dumps(entry(segmentation={"size": [12, 16], "counts": [50, 20, 122]})).replace(
            '"counts"', '"size": [12, 16], "counts"'
        ),
        "[" * 100_000,
    ],
)
def test_what_is_not_plain_is_left_to_the_full_check(text: str):
    assert quick_mask(text.encode(), SIZES, {1}) is None


def test_changed_bytes_never_part_the_two():
    random, quick = Random(20_264), 0
    for _ in range(3000):
        quick += compare(mutated(json.dumps(entry()).encode(), random))
    assert quick > 50
