"""What models are measured on is held back, vouched for, and the same each time."""

import numpy as np
import pytest

from storage.settings import Settings
from tasks.apply_rules import apply_rules
from tasks.curation_rules import CurationRules
from tasks.frozen_folder import freeze_folder
from tasks.frozen_set import (
    NoFrozenSetError,
    distinct_masks,
    freeze_images,
    frozen_split,
    held_out_split,
    read_frozen,
)
from tasks.seal_drops import EmptyDropError
from tests.drops import GREEN, RED, write_box_drop, write_document
from tests.exports import Drawn, Page, box, fill
from tests.lakes import image_row, ingest
from tests.tasks.test_apply_rules import decide
from vision.images import ImageError
from vision.masks import mask_to_rle

MASKS = [box(30, 40, slice(n, n + 9), slice(n, n + 5)) for n in range(0, 20, 4)]


@pytest.fixture
def root(tmp_path):
    """Four pages in val, one in train; each with annotations and segments of the same masks."""
    held = [
        Page(40, 30, [Drawn(MASKS[0], "panel"), Drawn(MASKS[1], "text")], split="val"),
        Page(40, 30, [Drawn(MASKS[2], "panel"), Drawn(MASKS[3], iscrowd=True, label="x")], "val"),
        Page(40, 30, [Drawn(MASKS[4], "panel")], split="val2017"),
        Page(40, 30, [Drawn(MASKS[4], "panel", iscrowd=True)], split="val"),
    ]
    return fill(tmp_path / "root", [*held, Page(40, 30, [Drawn(MASKS[0], "panel")])])


def frozen(root, split="val", max_images=None, dataset="comics"):
    with frozen_split(str(root.path), dataset, split, max_images) as found:
        return found, list(found.images())


def test_it_is_the_held_back_images_with_masks_in_an_order_that_stays(root):
    found, images = frozen(root)
    assert {image.image_id for image in images} == set(root.images[:3])
    assert list(found.names) == [image.image_id for image in images]
    assert found.objects == sum(len(image.rles) for image in images) == 4
    again, same = frozen(root)
    assert (again.digest, same) == (found.digest, images)
    for count in (1, 2, 3, 9):
        some, chosen = frozen(root, max_images=count)
        assert chosen == images[:count]
        assert (some.digest == found.digest) == (count >= 3)
    rgb = read_frozen(found.store, images[0])
    assert (rgb.shape, rgb.dtype) == ((30, 40, 3), np.uint8)


def test_what_rules_accept_is_no_truth_and_what_people_accept_is(root):
    before, _ = frozen(root)
    apply_rules.fn(str(root.path), "comics", CurationRules(annotated_images=True))
    assert frozen(root)[0].digest == before.digest
    # A segment that is an annotation as well is one object.
    segments = {
        (row["image_id"], row["rle"]): row["segment_id"]
        for row in root.lake.read("segments").to_pylist()
    }
    twice = segments[root.images[0], mask_to_rle(MASKS[0]).decode()]
    decide(root.lake, twice, "accept")
    assert frozen(root)[0].digest == before.digest
    other = segments[root.images[3], mask_to_rle(MASKS[4]).decode()]
    decide(root.lake, other, "accept")
    after, images = frozen(root)
    assert after.digest != before.digest
    assert {image.image_id for image in images} == set(root.images[:4])


def test_an_object_counts_once():
    whole = box(30, 40, slice(2, 22), slice(3, 23))
    nearly = whole.copy()
    nearly[2:3] = False  # IoU 0.95
    part = box(30, 40, slice(2, 12), slice(3, 23))
    rles = [mask_to_rle(mask) for mask in (whole, nearly, part, whole, np.zeros((30, 40), bool))]
    assert distinct_masks(rles, 30, 40) == tuple(sorted([rles[0], rles[2]]))
    assert distinct_masks(rles[1::-1], 30, 40) == (rles[1],)
    assert distinct_masks([], 30, 40) == ()


def test_images_that_look_alike_are_a_group(root):
    looks = ["0" * 16, "0" * 15 + "3", "f" * 16]
    rows = [
        image_row(image, perceptual_hash=value, split="val", width_px=40, height_px=30)
        for image, value in zip(root.images[:3], looks, strict=True)
    ]
    ingest(root.lake, "hashed", [row | {"dataset": "hashed"} for row in rows])
    found, images = frozen(root, dataset="comics")
    assert found.groups == {}
    looks_of = dict(zip(root.images, looks, strict=False))
    other = freeze_images(images, looks_of, dataset="d", split="", store=found.store)
    first = min(root.images[:2])
    assert other.groups == dict.fromkeys(root.images[:2], first)
    assert list(other.names) == list(found.names)
    assert other.digest == found.digest


def test_test_is_preferred_to_val(root):
    assert held_out_split.fn(str(root.path), "comics") == "val"
    shared = {"dataset": "street", "width_px": 40, "height_px": 30}
    ingest(root.lake, "elsewhere", [image_row(root.images[0], split="test", **shared)])
    assert held_out_split.fn(str(root.path), "comics") == "val"
    with pytest.raises(NoFrozenSetError, match="'street' in the split test or val has a mask"):
        held_out_split.fn(str(root.path), "street")


def test_where_there_is_nothing_it_is_said_what_there_is_and_what_to_do(root):
    with pytest.raises(NoFrozenSetError) as caught:
        frozen(root, "test")
    said = str(caught.value)
    assert "in the split test has a mask" in said
    assert "train (1 image, 1 with masks), val (4 images, 3 with masks)" in said
    assert '"split": "test"' in said
    with pytest.raises(NoFrozenSetError, match="no image in dataset 'nope'; there is comics"):
        frozen(root, dataset="nope")
    with pytest.raises(NoFrozenSetError, match="trained on"):
        frozen(root, "Train2017")
    with pytest.raises(NoFrozenSetError, match="none yet"):
        held_out_split.fn(str(root.path / "other"), "comics")


def test_an_image_with_other_bytes_is_refused(root):
    found, (image, *_) = frozen(root)
    (root.path / image.key).write_bytes(b"other")
    with pytest.raises(ImageError, match=r"image\.corrupt: 'other bytes"):
        read_frozen(found.store, image)


def test_a_folder_is_read_without_a_lake(tmp_path):
    pictures = [[((4, 4, 10, 8), RED), ((30, 20, 12, 10), GREEN)], [((2, 30, 20, 10), RED)], []]
    document = write_box_drop(tmp_path / "drop", pictures)
    before = sorted(tmp_path.rglob("*"))
    found, findings = freeze_folder(str(tmp_path / "drop"), Settings())
    assert (findings, len(found.names), found.objects) == (0, 2, 3)
    assert sorted(tmp_path.rglob("*")) == before
    (one,) = [image for image in found.images() if image.file_name == "images/p2.png"]
    assert read_frozen(found.store, one).shape == (48, 64, 3)
    document["images"][1]["split"] = "test"
    document["annotations"][0]["segmentation"] = [[1, 2, 3]]
    write_document(tmp_path / "drop", document)
    some, findings = freeze_folder(str(tmp_path / "drop"), Settings(), split="test")
    assert (findings, list(some.names.values())) == (1, ["images/p2.png"])
    with pytest.raises(NoFrozenSetError, match="has an annotation and is in the split 'val'"):
        freeze_folder(str(tmp_path / "drop"), Settings(), split="val")
    (tmp_path / "empty").mkdir()
    with pytest.raises(EmptyDropError):
        freeze_folder(str(tmp_path / "empty"), Settings())
