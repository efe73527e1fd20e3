import pytest

from tasks.calibrate_labels import NothingToCalibrateError, calibrate_labels
from vision.clip import load_label_set

COMIC = load_label_set("comic")


def run(root, label_set=COMIC, **options):
    defaults = {
        "clip_model": "demo",
        "dataset": None,
        "most": 100,
        "device": "cpu",
        "max_px": 10**8,
    }
    return calibrate_labels(root.lake, root.store, label_set, **(defaults | options))


def test_annotations_whose_category_is_a_label_are_compared(root, pages):
    told = []
    found = run(root, progress=lambda *step: told.append(step))
    drawn = [d for page in pages for d in page.drawn if not d.iscrowd and d.mask.any()]
    expected = sum(d.label in COMIC.names for d in drawn)
    assert found.segments == expected > 2
    assert 0.05 <= found.temperature <= 50
    assert 0 <= found.accuracy <= 1
    assert found.ece_after <= 1
    assert told[-1] == ("compare", expected, expected)


def test_a_sample_is_no_larger_than_asked_for_and_always_the_same(root):
    assert run(root, most=2).segments == 2
    assert run(root, most=2) == run(root, most=2)


def test_categories_that_are_no_labels_are_told(root):
    with pytest.raises(NothingToCalibrateError, match=r"'coco80' knows \(person, bicycle"):
        run(root, load_label_set("coco80"))
    with pytest.raises(NothingToCalibrateError):
        run(root, dataset="another")


def test_images_that_cannot_be_read_are_left_out(root):
    with pytest.raises(NothingToCalibrateError):
        run(root, max_px=1)
