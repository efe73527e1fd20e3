"""Recall and precision are pycocotools' own, number by number."""

import contextlib
import io
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from vision.coco import check_document
from vision.masks import mask_to_rle, rle_area, rle_to_mask
from vision.metrics import ImageMasks, ImageObjects, label_precision, mask_recall
from vision.metrics.recall import AREAS

REAL = Path(os.environ.get("SEGMILL_REAL_DATA", "no-real-data"))
HEIGHT, WIDTH = 120, 150
LABELS = ("bubble", "panel", "text")


def coco_eval(truth, predicted, max_masks, use_labels):
    """COCOeval's precision and recall arrays, -1 as NaN."""
    images = [
        {"id": i, "height": image.height_px, "width": image.width_px}
        for i, image in enumerate(truth)
    ]
    number = {image.image_id: i for i, image in enumerate(truth)}
    category = {label: i + 1 for i, label in enumerate(LABELS)} | {"": 1}

    def segmentation(image, place):
        return {"size": [image.height_px, image.width_px], "counts": image.rles[place]}

    annotations = [
        {
            "image_id": number[image.image_id],
            "category_id": category[image.labels[j] if image.labels else ""],
            "segmentation": segmentation(image, j),
            "area": image.areas_px[j] if image.areas_px else rle_area(image.rles[j]),
            "iscrowd": int(bool(image.is_crowd) and image.is_crowd[j]),
        }
        for image in truth
        for j in range(len(image))
    ]
    results = [
        {
            "image_id": number[image.image_id],
            "category_id": category.get(image.labels[j] if image.labels else "", 99),
            "segmentation": segmentation(image, j),
            "score": image.scores[j],
        }
        for image in predicted
        for j in range(len(image))
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        gt = COCO()
        gt.dataset = {
            "images": images,
            "annotations": [a | {"id": i + 1} for i, a in enumerate(annotations)],
            "categories": [{"id": i + 1, "name": label} for i, label in enumerate(LABELS)],
        }
        gt.createIndex()
        dt = gt.loadRes(results) if results else COCO()
        evaluation = COCOeval(gt, dt, "segm")
        evaluation.params.useCats = int(use_labels)
        evaluation.params.maxDets = sorted(max_masks)
        evaluation.evaluate()
        evaluation.accumulate()
    precision, recall = evaluation.eval["precision"], evaluation.eval["recall"]
    return np.where(precision < 0, np.nan, precision), np.where(recall < 0, np.nan, recall)


def boxes(rng, count):
    """Boxes of all of COCO's sizes, that often lie on each other."""
    sizes = rng.choice([3, 12, 32, 40, 96, 110], (count, 2))
    corners = (rng.integers(0, 4, (count, 2)) * 9).clip(0, [[HEIGHT - 96, WIDTH - 96]])
    return np.concatenate([corners, sizes], axis=1)


def draw(box, jitter=(0, 0)):
    mask = np.zeros((HEIGHT, WIDTH), bool)
    top, left, tall, wide = box
    mask[top : top + tall + jitter[0], left : left + wide + jitter[1]] = True
    return mask_to_rle(mask)


def scene(seed, images=4, crowds=True, ties=True):
    """Objects, and masks that are near some of them; many overlaps and scores are equal."""
    rng = np.random.default_rng(seed)
    truth, predicted = [], []
    for image in range(images):
        count = int(rng.integers(0, 7))
        true_boxes = boxes(rng, count)
        labels = rng.choice(LABELS, count).tolist()
        truth.append(
            ImageObjects(
                f"image {image}",
                HEIGHT,
                WIDTH,
                [draw(box) for box in true_boxes],
                labels,
                (rng.random(count) < 0.2).tolist() if crowds else (),
                rng.choice([100.0, 1024.0, 5000.5, 9216.0, 12000.0], count).tolist()
                if seed % 3 == 0
                else (),
            )
        )
        found = [(box, label) for box, label in zip(true_boxes, labels, strict=True)] * 2
        found += [(box, str(rng.choice(LABELS))) for box in boxes(rng, 4)]
        keep = rng.permutation(len(found))[: int(rng.integers(0, len(found) + 1))]
        scores = rng.choice([0.2, 0.5, 0.9], len(keep)) if ties else rng.random(len(keep))
        if len(keep) or seed % 2:
            predicted.append(
                ImageMasks(
                    f"image {image}",
                    HEIGHT,
                    WIDTH,
                    [draw(found[i][0], rng.integers(-2, 3, 2)) for i in keep],
                    scores.tolist(),
                    [found[i][1] for i in keep],
                )
            )
    return truth, predicted


def without_labels(images):
    return [type(image)(**(vars(image) | {"labels": ()})) for image in images]


@settings(max_examples=50)
@given(st.integers(0, 2**31), st.sampled_from([(1, 3), (2, 100), (100, 1000)]))
def test_recall_is_cocos(seed, max_masks):
    # With several categories COCOeval takes masks of equal scores in the order of these.
    truth, predicted = map(without_labels, scene(seed))
    found = mask_recall(truth, predicted, max_masks)
    _, recall = coco_eval(truth, predicted, max_masks, use_labels=False)
    expected = recall.mean(axis=0)[0].T  # over thresholds; of the one category
    ours = [[found.at(count, area) for area in AREAS] for count in max_masks]
    np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-12)


@settings(max_examples=50)
@given(st.integers(0, 2**31), st.sampled_from([1, 3, 100]))
def test_precision_is_cocos(seed, max_masks):
    truth, predicted = scene(seed)
    found = label_precision(truth, predicted, max_masks)
    precision, _ = coco_eval(truth, predicted, [max_masks], use_labels=True)
    expected = precision[..., 0].mean(axis=1)  # over recall thresholds
    for row, label in enumerate(found.labels):
        theirs = expected[:, LABELS.index(label)].T
        np.testing.assert_allclose(found.precision[row], theirs, rtol=0, atol=1e-12)
    for column, area in enumerate(AREAS):
        theirs = precision[..., column, 0]
        counting = theirs[~np.isnan(theirs)]
        if counting.size:
            assert found.ap(area=area) == pytest.approx(counting.mean(), abs=1e-12)
        else:
            assert np.isnan(found.ap(area=area))
    at_half = precision[0, :, :, 0, 0]
    if not np.isnan(at_half).all():
        assert found.ap(iou=0.5) == pytest.approx(np.nanmean(at_half), abs=1e-12)


def test_the_mean_over_objects_is_the_recall():
    truth, predicted = scene(5, images=9)
    found = mask_recall(truth, predicted)
    values = found.object_recall[0, 0]
    assert found.at(100) == pytest.approx(values.mean())
    assert len(values) == len(found.image_of_object) == sum(sum(~t.crowd) for t in truth)
    for place, image in enumerate(truth):
        alone = mask_recall([image], [p for p in predicted if p.image_id == image.image_id])
        own = found.object_recall[:, :, found.image_of_object == place]
        np.testing.assert_array_equal(alone.object_recall, own)


@settings(max_examples=20)
@given(st.integers(0, 2**31), st.randoms(use_true_random=False))
def test_the_order_of_masks_and_images_does_not_matter(seed, random):
    truth, predicted = scene(seed, images=3, ties=False)
    shuffled = []
    for image in predicted:
        order = random.sample(range(len(image)), len(image))
        parts = {k: [getattr(image, k)[i] for i in order] for k in ("rles", "scores", "labels")}
        shuffled.append(ImageMasks(image.image_id, HEIGHT, WIDTH, **parts))
    random.shuffle(shuffled)
    np.testing.assert_array_equal(
        mask_recall(truth, predicted).object_recall, mask_recall(truth, shuffled).object_recall
    )
    np.testing.assert_array_equal(
        label_precision(truth, predicted).precision, label_precision(truth, shuffled).precision
    )


def test_true_masks_are_found_and_disjoint_ones_are_not():
    rng = np.random.default_rng(0)
    # Without equal masks, of which only one could be found.
    rles = sorted({draw(box) for box in boxes(rng, 9)})
    labels = [LABELS[i % 3] for i in range(len(rles))]
    truth = [ImageObjects("a", HEIGHT, WIDTH, rles, labels)]
    same = [ImageMasks("a", HEIGHT, WIDTH, rles[::-1], [0.5] * len(rles), labels[::-1])]
    far = [ImageMasks("a", HEIGHT, WIDTH, [draw((119, 140, 1, 9))], [0.5], ["text"])]
    assert mask_recall(truth, same).at(1000) == label_precision(truth, same).ap() == 1
    assert mask_recall(truth, far).at(1000) == label_precision(truth, far).ap() == 0
    assert mask_recall(truth, []).at(1000) == label_precision(truth, []).ap() == 0


def test_a_worked_example():
    # Two objects of 10 x 10 px. The surest mask misses; then one of IoU 0.8 and one of 0.6.
    objects = [draw((0, 0, 10, 10)), draw((0, 40, 10, 10))]
    masks = [draw((60, 0, 10, 10)), draw((0, 0, 10, 8)), draw((0, 40, 10, 6))]
    truth = [ImageObjects("a", HEIGHT, WIDTH, objects, ["text"] * 2)]
    predicted = [ImageMasks("a", HEIGHT, WIDTH, masks, [0.9, 0.8, 0.7], ["text"] * 3)]
    recall = mask_recall(truth, predicted, (1, 2, 100))
    # 0.8 is reached at 7 of 10 thresholds (.5 to .8), 0.6 at 3.
    np.testing.assert_allclose(recall.object_recall[2, 0], [0.7, 0.3])
    assert recall.metrics()["ar@100"] == pytest.approx(0.5)
    assert recall.metrics()["ar@2.small"] == pytest.approx(0.35)
    assert recall.metrics()["ar@1"] == 0
    assert np.isnan(recall.at(100, "large"))
    precision = label_precision(truth, predicted)
    # At IoU .5: precision 2/3 up to recall 1. At .65: 1/2 up to recall .5, which 51 of 101 reach.
    assert precision.ap("text", iou=0.5) == pytest.approx(2 / 3)
    assert precision.ap("text", iou=0.65) == pytest.approx(0.5 * 51 / 101)
    assert precision.ap("text", iou=0.9) == 0
    assert precision.metrics()["ap.label.text"] == pytest.approx(
        (3 * 2 / 3 + 4 * 0.5 * 51 / 101) / 10
    )


def test_labels_without_objects_do_not_count():
    truth = [ImageObjects("a", HEIGHT, WIDTH, [draw((0, 0, 40, 40))], ["text"])]
    masks = [draw((0, 0, 40, 40)), draw((50, 50, 40, 40))]
    predicted = [ImageMasks("a", HEIGHT, WIDTH, masks, [0.5, 0.9], ["text", "unknown"])]
    found = label_precision(truth, predicted)
    assert (found.labels, found.objects.tolist()) == (("text",), [1])
    assert found.ap() == pytest.approx(1)
    with pytest.raises(ValueError, match=r"expected label among \['text'\], but got 'unknown'"):
        found.ap("unknown")
    with pytest.raises(ValueError, match="expected iou among"):
        found.ap(iou=0.51)


def test_nothing_at_all_has_no_number():
    assert np.isnan(mask_recall([], []).at(100))
    assert np.isnan(label_precision([], []).ap())


@pytest.mark.realdata
@pytest.mark.skipif(not (REAL / "coco_sample").is_dir(), reason="SEGMILL_REAL_DATA names no folder")
def test_coco_photos_have_cocos_numbers():
    document = check_document((REAL / "coco_sample" / "annotations.json").read_bytes(), "a.json")
    truth, predicted = [], []
    rng = np.random.default_rng(0)
    for image in sorted(document.images, key=lambda image: int(image.id)):
        own = [a for a in document.annotations if a.image_id == image.id]
        size = image.height, image.width
        labels = [LABELS[len(a.category) % 3] for a in own]
        crowd = [a.iscrowd for a in own]
        rles = [a.rle for a in own]
        found = [
            mask_to_rle(np.roll(rle_to_mask(rle, *size), rng.integers(-4, 5, 2), axis=(0, 1)))
            for rle in rles * 2
        ]
        scores = rng.random(len(found)).tolist()
        truth.append(ImageObjects(str(image.id), *size, rles, labels, crowd))
        predicted.append(ImageMasks(str(image.id), *size, found, scores, labels * 2))
    assert sum(len(t) for t in truth) == 165
    assert sum(t.crowd.sum() for t in truth) == 1

    found = mask_recall(without_labels(truth), without_labels(predicted))
    _, recall = coco_eval(
        without_labels(truth), without_labels(predicted), (100, 1000), use_labels=False
    )
    ours = [[found.at(count, area) for area in AREAS] for count in (100, 1000)]
    np.testing.assert_allclose(ours, recall.mean(axis=0)[0].T, rtol=0, atol=1e-12)
    precision, _ = coco_eval(truth, predicted, [100], use_labels=True)
    for column, area in enumerate(AREAS):
        expected = np.nanmean(precision[..., column, 0])
        assert label_precision(truth, predicted).ap(area=area) == pytest.approx(expected)
    assert 0.3 < found.at(100) < 1


A = ImageObjects("a", HEIGHT, WIDTH, [draw((0, 0, 9, 9))], ["text"])


@pytest.mark.parametrize(
    ("truth", "predicted", "message"),
    [
        ([A, A], [], "'a' is there twice"),
        ([A], [ImageMasks("b", HEIGHT, WIDTH, (), ())], "truth does not have: b"),
        ([A], [ImageMasks("a", HEIGHT, HEIGHT, (), ())], "is 150 x 120 px, but its masks are 120"),
    ],
)
def test_images_that_do_not_fit_are_refused(truth, predicted, message):
    for measure in (mask_recall, label_precision):
        with pytest.raises(ValueError, match=message):
            measure(truth, predicted)


def test_incomplete_entries_are_refused():
    with pytest.raises(ValueError, match="expected 1 labels, but got 2"):
        ImageObjects("a", HEIGHT, WIDTH, A.rles, ["text", "text"])
    with pytest.raises(ValueError, match="expected 1 scores, but got 0"):
        ImageMasks("a", HEIGHT, WIDTH, A.rles, [])
    with pytest.raises(ValueError, match="not finite"):
        ImageMasks("a", HEIGHT, WIDTH, A.rles, [float("nan")])
    with pytest.raises(ValueError, match="has no labels"):
        label_precision([A], [ImageMasks("a", HEIGHT, WIDTH, A.rles, [0.5])])
    with pytest.raises(ValueError, match="max_masks must be positive"):
        mask_recall([A], [], (0,))
