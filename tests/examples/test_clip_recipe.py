import json

import numpy as np
import pytest
import torch

from examples.comics import Page, PageObject, generate_page
from examples.demo_models.clip_junk import JUNK, nearly
from examples.demo_models.clip_samples import page_masks, true_labels
from examples.demo_models.crop_pool import CropPool
from examples.demo_models.evaluate_clip import shares
from examples.demo_models.pages import FIRST_HELD_OUT_SEED
from examples.demo_models.train_clip import contrastive_loss, save_half, train
from vision.clip import UNKNOWN, load_labeller
from vision.clip.loading import DEMO_CONFIG


def box(x: int, y: int, w: int, h: int) -> np.ndarray:
    mask = np.zeros((100, 100), bool)
    mask[y : y + h, x : x + w] = True
    return mask


def page_of(*objects: tuple[str, np.ndarray, bool]) -> Page:
    image = np.zeros((100, 100, 3), np.uint8)
    return Page(
        image, [PageObject(category, mask, None, crowd) for category, mask, crowd in objects]
    )


def test_a_mask_is_what_it_overlaps_by_seven_tenths() -> None:
    page = page_of(("panel", box(0, 0, 90, 90), False), ("bubble", box(10, 10, 40, 20), False))
    masks = [
        box(0, 0, 90, 90),
        box(10, 10, 40, 16),  # IoU 0.8
        box(10, 10, 24, 20),  # IoU 0.6: neither
        box(10, 10, 18, 20),  # IoU 0.45
        box(92, 92, 6, 6),
        box(10, 10, 4, 4),  # too small to say
    ]
    assert true_labels(masks, page) == ["panel", "bubble", None, UNKNOWN, UNKNOWN, None]
    assert true_labels([], page) == []


def test_masks_in_a_crowd_are_left_out() -> None:
    page = page_of(("character", box(0, 0, 60, 60), True), ("text", box(70, 70, 20, 10), False))
    masks = [box(0, 0, 60, 60), box(5, 5, 20, 20), box(70, 70, 20, 10), box(70, 10, 20, 20)]
    assert true_labels(masks, page) == [None, None, "text", UNKNOWN]


@pytest.mark.parametrize("maker", [maker for maker, _ in JUNK])
def test_every_junk_maker_gives_masks_of_the_page_that_are_mostly_no_object(maker) -> None:
    rng = np.random.default_rng(1)
    labels = []
    for seed in range(4):
        page = generate_page(seed)
        masks = [maker(page, rng) for _ in range(10)]
        assert {(mask.shape, mask.dtype) for mask in masks} == {
            (page.image.shape[:2], np.dtype(bool))
        }
        labels += true_labels(masks, page)
    assert labels.count(UNKNOWN) >= 0.4 * len([label for label in labels if label])
    assert labels.count(UNKNOWN) >= 5


def test_nearly_an_object_is_mostly_still_the_object() -> None:
    rng = np.random.default_rng(2)
    right = []
    for seed in range(4):
        page = generate_page(seed)
        objects = [o for o in page.objects if not o.iscrowd]
        labels = true_labels([nearly(o.mask, page, rng) for o in objects], page)
        right += [label == o.category for label, o in zip(labels, objects, strict=True)]
    assert np.mean(right) > 0.75


def test_masks_of_a_page_are_the_same_for_the_same_seed() -> None:
    page = generate_page(5)
    first, second = (page_masks(page, np.random.default_rng(9), 8) for _ in range(2))
    assert all((a == b).all() for a, b in zip(first, second, strict=True))


def test_the_pool_keeps_the_newest_crops_and_draws_by_share() -> None:
    pool = CropPool(("a", "b"), 2, capacity=3)
    pool.add(("a", np.full((2, 2, 3), value, np.uint8)) for value in range(5))
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="no crop yet of 'b'"):
        pool.draw(1, np.array([0.5, 0.5]), rng)
    pool.add([("b", np.full((2, 2, 3), 9, np.uint8))])
    crops, numbers = pool.draw(1000, np.array([0.8, 0.2]), rng)
    assert set(crops[numbers == 0].ravel()) == {2, 3, 4}
    assert set(crops[numbers == 1].ravel()) == {9}
    assert numbers.mean() == pytest.approx(0.2, abs=0.05)


def test_the_loss_is_clips_cross_entropy_where_pairs_are_one_to_one() -> None:
    logits = torch.randn(5, 5, generator=torch.Generator().manual_seed(0))
    pairs = torch.arange(5)
    cross_entropy = torch.nn.functional.cross_entropy
    expected = cross_entropy(logits, pairs) + 0.2 * cross_entropy(logits.T, pairs)
    assert contrastive_loss(logits, torch.eye(5, dtype=torch.bool)) == pytest.approx(
        float(expected)
    )


def test_captions_of_the_same_category_are_all_right() -> None:
    logits = torch.tensor([[5.0, 5.0, -9.0], [-9.0, -9.0, 5.0]])
    positive = torch.tensor([[True, True, False], [False, False, True]])
    assert contrastive_loss(logits, positive) < 1e-4


def test_a_few_steps_give_a_model_that_loads_and_differs_with_the_seed_only(tmp_path) -> None:
    first, again = (train(11, steps=2, first_pages=3).state_dict() for _ in range(2))
    other = train(4000, steps=2, first_pages=3)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["logit_scale"], other.state_dict()["logit_scale"])
    config = json.loads(DEMO_CONFIG.read_text())
    (tmp_path / "open_clip_config.json").write_text(json.dumps({"model_cfg": config}))
    save_half(other, tmp_path / "clip.safetensors")
    page = generate_page(1)
    results = load_labeller(f"file:{tmp_path}", "comic", "cpu").label(page.image, [])
    assert results == []
    assert (tmp_path / "clip.safetensors").stat().st_size < 4_000_000


def test_training_stops_before_the_held_out_pages() -> None:
    with pytest.raises(ValueError, match="below 900000000"):
        train(FIRST_HELD_OUT_SEED - 2, steps=1, first_pages=3)


def test_shares_count_objects_and_junk_apart() -> None:
    from collections import Counter

    counts = Counter(
        {("text", "text"): 8, ("text", UNKNOWN): 2, ("panel", "panel"): 10, (UNKNOWN, UNKNOWN): 3}
    )
    counts[UNKNOWN, "bubble"] = 1
    found = shares(counts)
    assert found["right"] == pytest.approx(0.9)
    assert found["right_text"] == pytest.approx(0.8)
    assert found["junk_unknown"] == pytest.approx(0.75)
