"""Training reads what is curated, from versions that stay, and never what is held back."""

from collections import defaultdict

import numpy as np
import pytest

from storage.maintenance import maintain_table
from storage.session import connect
from tasks.apply_rules import apply_rules
from tasks.curation_rules import CurationRules
from tasks.data_version import DataVersion
from tasks.training_data import (
    NoTrainingDataError,
    SourceWeights,
    TrainingData,
    read_pixels,
)
from tests.exports import Drawn, Page, box, fill
from tests.lakes import image_row, ingest
from tests.tasks.test_apply_rules import decide
from vision.masks import rle_to_mask

MASKS = [box(30, 40, slice(n, n + 9), slice(n, n + 5)) for n in range(4)]


@pytest.fixture
def root(tmp_path):
    """Pages of both datasets and splits, with the same masks as annotations and as segments."""
    pages = [
        Page(40, 30, [Drawn(MASKS[0], "panel", 0.9), Drawn(MASKS[1], "text", 0.4)]),
        Page(40, 30, [Drawn(MASKS[2], "panel", 0.8), Drawn(MASKS[3], "panel", iscrowd=True)]),
        Page(40, 30, [Drawn(MASKS[0], "panel", 0.9)], split="val"),
        Page(40, 30, [Drawn(MASKS[1], "text", 0.9)], split="train2017", dataset="street"),
        Page(40, 30, []),
    ]
    return fill(tmp_path / "root", pages)


def segments(root):
    with connect(root.lake) as session:
        return session.execute("SELECT segment_id, image_id FROM segments ORDER BY 1").fetchall()


def read(root, **given):
    with TrainingData(root.lake, **given) as data:
        return list(data.samples())


def test_samples_are_the_images_of_a_split_with_their_masks(root):
    with TrainingData(root.lake, dataset="comics") as data:
        assert (data.counts.images, data.counts.masks) == (2, 3)
        assert data.counts.labels == {"panel": 2, "text": 1}
        assert data.counts.sources == {"annotation": 3}
        samples = list(data.samples())
    assert [sample.image_id for sample in samples] == sorted(root.images[:2])
    by_image = {sample.image_id: sample for sample in samples}
    first = by_image[root.images[0]]
    assert (first.width_px, first.height_px, first.split) == (40, 30, "train")
    found = {mask.label: rle_to_mask(mask.rle, 30, 40) for mask in first.masks}
    assert np.array_equal(found["panel"], MASKS[0])
    assert np.array_equal(found["text"], MASKS[1])
    assert {(mask.source, mask.weight) for mask in first.masks} == {("annotation", 1.0)}


def test_all_datasets_and_chosen_labels(root):
    assert {sample.image_id for sample in read(root)} == {*root.images[:2], root.images[3]}
    (only,) = read(root, dataset="comics", labels=["text"])
    assert [mask.label for mask in only.masks] == ["text"]


def test_masks_weigh_by_who_vouches_for_them(root):
    rows = segments(root)
    of_first = [segment for segment, image in rows if image == root.images[0]]
    decide(root.lake, of_first[0], "accept")
    apply_rules.fn(str(root.path), "comics", CurationRules(annotated_images=True))
    sources = defaultdict(set)
    for sample in read(root, dataset="comics", weights=SourceWeights(2.0, 1.5, 0.25)):
        for mask in sample.masks:
            sources[mask.source].add((mask.weight, mask.object_id))
    assert {source: {weight for weight, _ in found} for source, found in sources.items()} == {
        "annotation": {2.0}, "review": {1.5}, "rules": {0.25},
    }  # fmt: skip
    assert {segment for _, segment in sources["review"]} == {of_first[0]}
    with pytest.raises(ValueError, match="rules, but got -1"):
        SourceWeights(rules=-1)


def test_what_is_held_back_never_trains(root):
    shared = {"dataset": "street", "width_px": 40, "height_px": 30}
    held = [image_row(image, split=split, **shared) for image, split in
            ((root.images[0], "val"), (root.images[1], "test"))]  # fmt: skip
    ingest(root.lake, "held back elsewhere", held)
    assert [sample.image_id for sample in read(root)] == [root.images[3]]
    with pytest.raises(NoTrainingDataError, match="'train' of dataset 'comics'"):
        TrainingData(root.lake, dataset="comics")
    # Nor is a model measured on what it may have learnt from before it was held back elsewhere.
    assert [sample.image_id for sample in read(root, split="val")] == [root.images[2]]
    with pytest.raises(NoTrainingDataError, match="'test'"):
        read(root, split="test")


def test_the_same_version_gives_the_same_samples_whatever_happens(root):
    with TrainingData(root.lake, dataset="comics") as data:
        version, before = data.version, list(data.samples())
    decide(root.lake, [segment for segment, _ in segments(root)], "accept")
    with TrainingData(root.lake, dataset="comics") as data:
        assert data.counts.masks > 3
        newer = data.version
    for table in ("annotations", "reviews", "segments"):
        maintain_table(root.lake, table)
    again = DataVersion.from_json(version.to_json())
    assert read(root, dataset="comics", version=again) == before
    assert (version.tables["reviews"], newer.tables["reviews"]) == (None, 1)
    assert newer.mark.covers(version.mark)
    with pytest.raises(ValueError, match="of dataset 'comics', but None"):
        TrainingData(root.lake, version=again)
    with pytest.raises(ValueError, match="does not name the table 'annotations'"):
        TrainingData(root.lake, version=DataVersion(None, {"units": 1}))


def test_a_seed_shuffles_images_and_loses_none(root):
    with TrainingData(root.lake) as data:
        orders = [[sample.image_id for sample in data.samples(seed)] for seed in (1, 2, 3, 1)]
        assert orders[0] == orders[3]
        assert len(set(map(tuple, orders))) > 1
        assert {tuple(sorted(order)) for order in orders} == {tuple(sorted(orders[0]))}
        assert [len(batch) for batch in data.batches(2, seed=1)] == [2, 1]
        assert [s.image_id for batch in data.batches(2, seed=1) for s in batch] == orders[0]


def test_pixels_are_those_of_the_image(root):
    (sample,) = read(root, dataset="street")
    pixels = read_pixels(root.store, sample)
    assert pixels.shape == (sample.height_px, sample.width_px, 3)
    assert pixels.dtype == np.uint8


def test_an_empty_lake_has_nothing_to_train_on(tmp_path, root):
    with pytest.raises(NoTrainingDataError, match="segmill review"):
        TrainingData(type(root.lake).open(str(tmp_path / "other")))
