"""Samples are of the least certain segments, spread, and the same for the same seed."""

from collections import Counter
from itertools import count

import cv2
import numpy as np
import pytest

from storage.lake import Lake
from tasks.apply_rules import apply_rules
from tasks.curation_rules import CurationRules
from tasks.review_sample import sample_for_review
from tasks.sample_sheet import TooManyTilesError, write_sheet
from tests.lakes import cut, image_row, ingest, segment_row
from tests.tasks.test_apply_rules import decide, root_of

_numbers = count()


@pytest.fixture
def lake(tmp_path) -> Lake:
    return Lake.open(str(tmp_path))


def top(first, second, margin):
    return [
        {"label": first, "cosine": 0.3, "probability": 0.5 + margin / 2},
        {"label": second, "cosine": 0.3 - margin / 10, "probability": 0.5 - margin / 2},
    ]


def unsure(image, label, margin, **values):
    return segment_row(image, label, margin=margin, top=top(label, "other", margin), **values)


def chosen(lake, number, **given):
    return [item.segment_id for item in sample_for_review(lake, "comics", number, **given)]


def test_the_least_certain_come_first(lake):
    ingest(lake, "i", [image_row(x) for x in "abcd"])
    rows = [
        unsure("a", "panel", 0.9, segment_id="sure"),
        unsure("b", "panel", 0.1, segment_id="close"),
        unsure("c", "panel", 0.5, segment_id="middle"),
        unsure("d", "panel", -0.99, segment_id="surely not"),
    ]
    cut(lake, "s", list("abcd"), rows)
    assert chosen(lake, 4) == ["close", "middle", "sure", "surely not"]
    assert chosen(lake, 1) == ["close"]
    (first,) = sample_for_review(lake, "comics", 1)
    assert (first.number, first.label, first.second_label) == (1, "panel", "other")
    assert (first.margin, round(first.uncertainty, 3), first.based_on) == (0.1, 0.9, 0)


def test_labels_take_turns_and_images_share(lake):
    ingest(lake, "i", [image_row(x, perceptual_hash=f"{n:016x}") for n, x in enumerate("abcdef")])
    rows = [unsure(x, "panel", 0.1 + n / 100) for n in range(8) for x in "abcdef"]
    rows += [unsure("a", "text", 0.8), unsure("b", "text", 0.7), unsure("c", "unknown", -0.3)]
    cut(lake, "s", list("abcdef"), rows)
    found = sample_for_review(lake, "comics", 9)
    assert Counter(item.label for item in found) == {"panel": 6, "text": 2, "unknown": 1}
    assert [item.label for item in found[:3]] == ["panel", "text", "unknown"]
    panels = Counter(item.image_id for item in found if item.label == "panel")
    assert max(panels.values()) <= 2
    assert len(panels) >= 4


def test_what_looks_alike_is_not_chosen_twice_in_a_row(lake):
    ingest(lake, "i", [image_row(x, perceptual_hash="0" * 16) for x in "abcd"])
    wide, tall = [0.0, 0.0, 40.0, 2.0], [0.0, 0.0, 2.0, 30.0]
    rows = [
        unsure("a", "panel", 0.10, segment_id="wide", bbox_xywh=wide, area_px=80),
        unsure("b", "panel", 0.11, segment_id="wide too", bbox_xywh=wide, area_px=80),
        unsure("c", "panel", 0.30, segment_id="tall", bbox_xywh=tall, area_px=60),
    ]
    cut(lake, "s", list("abcd"), rows)
    assert chosen(lake, 2) == ["wide", "tall"]


def test_what_somebody_decided_about_is_left_out(lake):
    ingest(lake, "i", [image_row("a")])
    cut(lake, "s", ["a"], [unsure("a", "panel", n / 10, segment_id=f"s{n}") for n in range(5)])
    decide(lake, ["s0", "s1"], "reject")
    apply_rules.fn(root_of(lake), "comics", CurationRules(min_margin=0.4))
    assert set(chosen(lake, 9)) == {"s2", "s3"}
    assert chosen(lake, 9, audit=True) == ["s4"]
    decide(lake, "s0", "reopen")
    assert {item.segment_id: item.based_on for item in sample_for_review(lake, "comics", 9)} == {
        "s0": 2, "s2": 0, "s3": 0,
    }  # fmt: skip


def test_only_the_newest_cut_of_a_dataset_is_sampled(lake):
    ingest(lake, "i", [image_row("a"), image_row("b", dataset="street")])
    cut(lake, "s", ["a", "b"], [segment_row(x, segment_id=f"old {x}") for x in "ab"])
    newer = [segment_row("a", "text", segment_id="new a", model_id="newer")]
    cut(lake, "s2", ["a"], newer, model_id="newer")
    assert chosen(lake, 9) == ["new a"]
    assert chosen(lake, 9, label="panel") == []


def test_disagreement_is_what_another_cut_did_not_find(lake):
    ingest(lake, "i", [image_row("a"), image_row("once")])
    boxes = {
        "same": [0.0, 0.0, 10.0, 10.0],
        "shifted": [20.0, 0.0, 10.0, 10.0],
        "named otherwise": [0.0, 15.0, 10.0, 10.0],
        "alone": [30.0, 15.0, 9.0, 9.0],
    }
    old = [segment_row("a", bbox_xywh=boxes["same"]),
           segment_row("a", bbox_xywh=[25.0, 0.0, 10.0, 10.0]),
           segment_row("a", "text", bbox_xywh=boxes["named otherwise"])]  # fmt: skip
    cut(lake, "s", ["a", "once"], [*old, segment_row("once")])
    new = [segment_row("a", segment_id=name, bbox_xywh=xywh) for name, xywh in boxes.items()]
    cut(lake, "s2", ["a"], [row | {"model_id": "newer"} for row in new], model_id="newer")
    found = sample_for_review(lake, "comics", 9, by="disagreement")
    assert {item.segment_id: round(item.uncertainty, 3) for item in found} == {
        "same": 0, "shifted": round(1 - 50 / 150, 3), "named otherwise": 1, "alone": 1,
    }  # fmt: skip


def test_a_seed_chooses_the_same_again_and_another_one_others(lake):
    ingest(lake, "i", [image_row(x) for x in "ab"])
    cut(lake, "s", list("ab"), [unsure(x, "panel", 0.5) for _ in range(20) for x in "ab"])
    for by in ("margin", "random"):
        once, again, other = (chosen(lake, 6, by=by, seed=seed) for seed in (1, 1, 2))
        assert once == again
        assert set(once) != set(other)


def test_an_empty_lake_has_no_sample(lake):
    assert chosen(lake, 5) == []
    for number in (0, 10_001):
        with pytest.raises(ValueError, match="expected a count of 1 to 10,000"):
            chosen(lake, number)


def test_a_sheet_shows_the_segments_whose_images_are_there(filled, tmp_path):
    found = sample_for_review(filled.lake, "comics", 9)
    path = tmp_path / "sheet.png"
    assert write_sheet(filled.store, found, path, columns=2) == 0
    sheet = cv2.imread(str(path))
    assert sheet.shape[1] == 2 * 230 + 10
    key = f"images/{filled.images[0][:2]}/{filled.images[0]}.png"
    filled.store.delete(key)
    assert write_sheet(filled.store, found, path, columns=2) == 2
    assert not np.array_equal(cv2.imread(str(path)), sheet)
    with pytest.raises(TooManyTilesError, match="400 segments at most, but 404"):
        write_sheet(filled.store, found * 101, path)
