"""Panoptic quality is that of panopticapi."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vision.coco.panoptic_png import png_to_ids
from vision.metrics import PanopticMap, PanopticSegment, panoptic_quality

REAL = Path(os.environ.get("SEGMILL_REAL_DATA", "no-real-data"))
CATEGORIES = {"person": True, "dog": True, "sky": False, "grass": False}


def panoptic(ids, segments, image_id="a"):
    return PanopticMap(image_id, np.asarray(ids), [PanopticSegment(*s) for s in segments])


def by_the_book(pairs):
    """PQ, SQ, RQ of each category by the definition, segment by segment."""
    tally = {name: [0.0, 0, 0, 0] for name in CATEGORIES}
    for truth, predicted in pairs:
        void = truth.ids == 0
        matched_true, matched_found = set(), set()
        for true in truth.segments:
            for found in predicted.segments:
                if true.category != found.category or true.is_crowd:
                    continue
                true_mask, mask = truth.ids == true.id, (predicted.ids == found.id) & ~void
                iou = (true_mask & mask).sum() / (true_mask | mask).sum()
                if iou > 0.5:
                    tally[true.category][0] += iou
                    tally[true.category][1] += 1
                    matched_true.add(true.id)
                    matched_found.add(found.id)
        for found in predicted.segments:
            if found.id in matched_found:
                continue
            mask, free = predicted.ids == found.id, void.copy()
            for true in truth.segments:
                if true.is_crowd and true.category == found.category:
                    free |= truth.ids == true.id
            if (mask & free).sum() / mask.sum() <= 0.5:
                tally[found.category][2] += 1
        for true in truth.segments:
            if not true.is_crowd and true.id not in matched_true:
                tally[true.category][3] += 1
    return {
        name: (
            iou / (tp + fp / 2 + fn / 2),
            iou / tp if tp else 0.0,
            tp / (tp + fp / 2 + fn / 2),
        )
        for name, (iou, tp, fp, fn) in tally.items()
        if tp + fp + fn
    }


def random_map(rng, image_id, crowds):
    """Rectangles painted on each other, and void below."""
    ids = np.zeros((24, 30), np.uint32)
    for number in range(1, int(rng.integers(0, 8))):
        top, left = rng.integers(0, 18, 2)
        tall, wide = rng.integers(2, 20, 2)
        ids[top : top + tall, left : left + wide] = number * 70_000
    names = list(CATEGORIES)
    segments = [
        (int(value), names[rng.integers(4)], bool(crowds and rng.random() < 0.25))
        for value in np.unique(ids)
        if value
    ]
    return panoptic(ids, segments, image_id)


def perturbed(rng, truth):
    """A prediction near the truth: shifted, with other ids, some categories changed."""
    ids = np.roll(truth.ids, tuple(rng.integers(-3, 4, 2)), axis=(0, 1)).astype(np.int64)
    ids[rng.integers(0, 20) :, rng.integers(0, 26) :] += 1
    categories = {s.id: s.category for s in truth.segments}
    names = list(CATEGORIES)
    segments = []
    for value in np.unique(ids):
        near = categories.get(int(value)) or categories.get(int(value) - 1)
        category = near if near and rng.random() < 0.8 else names[rng.integers(4)]
        if value:
            segments.append((int(value), category))
    return panoptic(ids, segments, truth.image_id)


def scene(seed, crowds=True):
    rng = np.random.default_rng(seed)
    truths = [random_map(rng, str(i), crowds) for i in range(3)]
    return [(truth, perturbed(rng, truth)) for truth in truths]


@settings(max_examples=60)
@given(st.integers(0, 2**32))
def test_quality_is_that_of_the_definition(seed):
    pairs = scene(seed)
    expected = by_the_book(pairs)
    scores = panoptic_quality(pairs, CATEGORIES)
    for name, numbers in expected.items():
        found = scores.of(name)
        assert (found.pq, found.sq, found.rq) == pytest.approx(numbers, abs=1e-12)
        assert found.pq == pytest.approx(found.sq * found.rq)
    for quality, wanted in (
        (scores.all, CATEGORIES),
        (scores.things, ["person", "dog"]),
        (scores.stuff, ["sky", "grass"]),
    ):
        numbers = [expected[name] for name in wanted if name in expected]
        assert quality.categories == len(numbers)
        if numbers:
            mean = np.mean(numbers, axis=0)
            assert (quality.pq, quality.sq, quality.rq) == pytest.approx(tuple(mean), abs=1e-12)
        else:
            assert np.isnan(quality.pq)


@given(st.integers(0, 2**32))
def test_the_same_map_under_other_ids_is_perfect(seed):
    truth = random_map(np.random.default_rng(seed), "a", crowds=False)
    same = panoptic(
        np.where(truth.ids, 900_000 - truth.ids.astype(int), 0),
        [(900_000 - s.id, s.category) for s in truth.segments][::-1],
    )
    scores = panoptic_quality([(truth, same)], CATEGORIES)
    if truth.segments:
        assert (scores.all.pq, scores.all.sq, scores.all.rq) == (1, 1, 1)
    assert not scores.tallies[..., 2:].any()


def test_tallies_of_images_add_up():
    pairs = scene(7)
    scores = panoptic_quality(iter(pairs), CATEGORIES)
    alone = [panoptic_quality([pair], CATEGORIES).tallies for pair in pairs]
    np.testing.assert_array_equal(scores.tallies, np.concatenate(alone))
    assert scores.image_ids == ("0", "1", "2")
    assert scores.tallies.shape == (3, 4, 4)


ROW = [1] * 10


def test_a_worked_example():
    # Columns 0-9 are a person of 100 px, 10-17 the sky of 80 px, 18-19 void.
    truth = panoptic([ROW + [2] * 8 + [0] * 2] * 10, [(1, "person"), (2, "sky")])
    # A person of 80 px inside (IoU .8), a dog on 20 px of the person, the sky on 30 of its 80 px
    # and on the void: 30 / (50 + 80 - 30 - 20 of void) = .375, so it is missed and surplus.
    predicted = panoptic(
        [[1] * 8 + [3] * 2 + [0] * 5 + [2] * 5] * 10, [(1, "person"), (2, "sky"), (3, "dog")]
    )
    scores = panoptic_quality([(truth, predicted)], CATEGORIES)
    assert scores.metrics() == pytest.approx(
        {
            "pq": 0.8 / 3,
            "sq": 0.8 / 3,
            "rq": 1 / 3,
            "pq.things": 0.4,
            "sq.things": 0.4,
            "rq.things": 0.5,
            "pq.stuff": 0,
            "sq.stuff": 0,
            "rq.stuff": 0,
            "pq.category.person": 0.8,
            "pq.category.dog": 0,
            "pq.category.sky": 0,
            "pq.category.grass": float("nan"),
        },
        nan_ok=True,
    )
    assert scores.tallies[0].tolist() == [[0.8, 1, 0, 0], [0, 0, 1, 0], [0, 0, 1, 1], [0, 0, 0, 0]]


def test_an_iou_of_a_half_is_no_match():
    truth = panoptic([[1] * 6 + [2] * 3], [(1, "person"), (2, "sky")])
    predicted = panoptic([[1] * 3 + [2] * 6], [(1, "person"), (2, "sky")])
    assert panoptic_quality([(truth, predicted)], CATEGORIES).all.pq == 0


@pytest.mark.parametrize(("in_void", "surplus"), [(5, 1), (6, 0)])
def test_what_lies_mostly_in_void_is_forgiven(in_void, surplus):
    truth = panoptic([[0] * in_void + [1] * (20 - in_void)], [(1, "sky")])
    predicted = panoptic([[2] * 10 + [1] * 10], [(1, "sky"), (2, "dog")])
    scores = panoptic_quality([(truth, predicted)], CATEGORIES)
    assert scores.tallies[0, 1].tolist() == [0, 0, surplus, 0]


def test_void_does_not_count_in_the_union():
    truth = panoptic([[1] * 10 + [0] * 10], [(1, "person")])
    predicted = panoptic([[5] * 20], [(5, "person")])
    assert panoptic_quality([(truth, predicted)], CATEGORIES).all.pq == 1


@pytest.mark.parametrize(("category", "surplus"), [("person", 0), ("dog", 1)])
def test_crowds_forgive_their_own_category_and_are_never_missed(category, surplus):
    truth = panoptic([[1] * 12 + [2] * 8], [(1, "person", True), (2, "sky")])
    predicted = panoptic([[7] * 12 + [2] * 8], [(7, category), (2, "sky")])
    tallies = panoptic_quality([(truth, predicted)], CATEGORIES).tallies[0]
    assert tallies.tolist() == [
        [0, 0, surplus if category == "person" else 0, 0],
        [0, 0, surplus if category == "dog" else 0, 0],
        [1, 1, 0, 0],
        [0, 0, 0, 0],
    ]


GOOD = panoptic([ROW], [(1, "dog")])


@pytest.mark.parametrize(
    ("predicted", "message"),
    [
        (panoptic([ROW], []), r"exactly the ids of the map.*\[1\]"),
        (panoptic([ROW], [(1, "dog"), (9, "sky")]), r"exactly the ids of the map.*\[9\]"),
        (panoptic([ROW], [(1, "dog"), (1, "dog")]), "one of them twice"),
        (panoptic([ROW], [(1, "cat")]), r"unknown categories \['cat'\]"),
        (panoptic([ROW, ROW], [(1, "dog")]), "two maps of one image"),
        (panoptic([ROW], [(1, "dog")], "b"), "two maps of one image"),
    ],
)
def test_maps_that_do_not_fit_are_refused(predicted, message):
    with pytest.raises(ValueError, match=message):
        panoptic_quality([(GOOD, predicted)], CATEGORIES)


def test_categories_are_asked_by_name():
    with pytest.raises(ValueError, match="but got 'cat'"):
        panoptic_quality([(GOOD, GOOD)], CATEGORIES).of("cat")
    assert np.isnan(panoptic_quality([], CATEGORIES).all.pq)


# What `pq_compute_single_core` and `pq_average` of panopticapi 1ad5afa say of the maps below.
PANOPTICAPI = {
    "all": (0.2524914688807605, 0.3889185859317612, 0.40096491228070175, 8),
    "things": (0.07972333755182455, 0.28826949388509465, 0.13526315789473684, 4),
    "stuff": (0.42525960020969655, 0.48956767797842776, 0.6666666666666666, 4),
}


@pytest.mark.realdata
@pytest.mark.skipif(not (REAL / "panopticapi").is_dir(), reason="SEGMILL_REAL_DATA names no folder")
def test_coco_photos_have_panopticapis_numbers():
    folder = REAL / "panopticapi"
    document = json.loads((folder / "panoptic_examples.json").read_text())
    names = {c["id"]: c["name"] for c in document["categories"]}
    things = {c["name"]: bool(c["isthing"]) for c in document["categories"]}
    pairs, same = [], []
    for entry in document["annotations"]:
        ids = png_to_ids((folder / "panoptic_examples" / entry["file_name"]).read_bytes())
        infos = entry["segments_info"]
        listed = [(s["id"], names[s["category_id"]], bool(s["iscrowd"])) for s in infos]
        truth = panoptic(ids, listed, entry["file_name"])
        predicted = np.roll(ids, (5, 8), axis=(0, 1))
        segments = []
        for place, info in enumerate(infos):
            if place % 4 == 3:
                predicted[predicted == info["id"]] = 0
            else:
                category = 1 if place % 5 == 4 else info["category_id"]
                segments.append((info["id"], names[category]))
        pairs.append((truth, panoptic(predicted, segments, entry["file_name"])))
        same.append((truth, truth))

    perfect = panoptic_quality(same, things)
    assert (perfect.all.pq, perfect.things.pq, perfect.stuff.pq) == (1, 1, 1)
    scores = panoptic_quality(pairs, things)
    for quality, expected in PANOPTICAPI.items():
        found = getattr(scores, quality)
        assert (found.pq, found.sq, found.rq, found.categories) == pytest.approx(expected)
