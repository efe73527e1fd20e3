"""Which masks of a root are learnt from, and which of them validation looks at."""

import pytest

from storage.session import connect
from tasks.apply_rules import apply_rules
from tasks.curation_rules import CurationRules
from tasks.training_data import TrainingData
from tasks.training_images import training_images
from tests.exports import Drawn, Page, box, fill
from tests.tasks.test_apply_rules import decide

MASKS = [box(30, 40, slice(n, n + 9), slice(n, n + 5)) for n in range(4)]


@pytest.fixture
def root(tmp_path):
    """Three pages with segments, of which the first is annotated too: crowds are no annotations."""
    pages = [
        Page(40, 30, [Drawn(MASKS[0], "panel", 0.9), Drawn(MASKS[1], "text", 0.9)]),
        Page(40, 30, [Drawn(MASKS[2], "panel", 0.9, iscrowd=True)]),
        Page(40, 30, [Drawn(MASKS[n], "panel", 0.9, iscrowd=True) for n in (0, 3)]),
    ]
    return fill(tmp_path / "root", pages)


def test_nobody_vouches_for_what_rules_accepted(root):
    with connect(root.lake) as session:
        rows = session.execute("SELECT segment_id, image_id FROM segments ORDER BY 1").fetchall()
    decide(root.lake, [next(s for s, image in rows if image == root.images[2])], "accept")
    apply_rules.fn(str(root.path), "comics", CurationRules(annotated_images=True))

    with TrainingData(root.lake, dataset="comics") as data:
        found, _ = training_images(str(root.path), data, 10_000)
        sources = {s.image_id: [mask.source for mask in s.masks] for s in data.samples()}

    vouched = {image.image_id: image.vouched for image in found}
    annotated, ruled, reviewed = root.images
    assert sources[annotated] == ["annotation", "annotation", "rules", "rules"]
    assert vouched[annotated] == (0, 1)
    assert sources[ruled] == ["rules"]
    assert vouched[ruled] == ()
    assert sources[reviewed] == ["review", "rules"]
    assert vouched[reviewed] == (0,)


def test_where_rules_accepted_nothing_all_masks_count(root):
    with TrainingData(root.lake, dataset="comics") as data:
        found, _ = training_images(str(root.path), data, 10_000)

    assert [image.vouched for image in found] == [None]
