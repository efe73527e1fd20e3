import contextlib
import multiprocessing
import threading

import numpy as np
import pytest
import torch

from tests.training import SIZE, picture, tiny_settings, training_image
from vision.finetune import TrainingDataError
from vision.finetune.augmentation import View, change_pixels, draw_view, whole
from vision.finetune.batches import Course, Place, StepBatches, StepImages, join, load
from vision.finetune.config import AugmentationSection
from vision.finetune.split import split_images
from vision.finetune.squares import square_image, square_mask
from vision.masks import mask_to_rle
from vision.sam2.embedding import MEAN_RGB, STD_RGB, model_input

STILL = AugmentationSection(
    flip=0.0, crop=0.0, brightness=0.0, contrast=0.0, saturation=0.0, gray=0.0, scan_noise=0.0
)


def setup(count=8, settings=None, **changes):
    images = [training_image(seed, **changes) for seed in range(count)]
    config = settings or tiny_settings(data={"val_share": 0.0})
    split = split_images(images, config.data.val_share, config.seed, 100)
    return images, split, config


def batches_of(images, split, config, steps, workers=0):
    course = Course(split, 4, config.seed)
    places = StepBatches(course, steps, 2, 2)
    return list(load(StepImages(images, split, config), places, workers, False))


def same(one, other):
    return (
        torch.equal(one.images, other.images)
        and torch.equal(one.masks, other.masks)
        and one.image_ids == other.image_ids
    )


@pytest.fixture
def readers():
    """Tells which processes there are that were not there before: those that read images."""
    others = {child.pid for child in multiprocessing.active_children()}
    return lambda: {child.pid for child in multiprocessing.active_children()} - others


def test_an_image_is_squashed_as_inference_squashes_it():
    rgb, _ = picture(3, 150, 210)

    square = square_image(rgb, whole(150, 210), 96)

    exact = model_input(rgb, 96, torch.device("cpu"))[0].permute(1, 2, 0)
    exact = (exact * torch.tensor(STD_RGB) + torch.tensor(MEAN_RGB)) * 255
    differences = (torch.from_numpy(square) - exact).abs()
    assert float(differences.max()) <= 1  # bytes are rounded after each of two passes
    assert float(differences.mean()) < 0.3


@pytest.mark.parametrize("size", [32, 64, 128, 200])
def test_masks_follow_their_image(size):
    """A mask of the dark pixels stays on the dark pixels, whatever is shown of the image."""
    mask = np.zeros((90, 120), bool)
    mask[20:61, 30:101] = True
    mask[30:40, 50:60] = False
    rgb = np.where(mask[..., None], 0, 255).astype(np.uint8).repeat(3, 2)
    rle = mask_to_rle(mask)
    for view in (whole(90, 120), View(11, 7, 100, 70), View(25, 15, 60, 60, True)):
        found = square_mask(rle, 90, 120, view, size)
        seen = square_image(rgb, view, size)[..., 0] < 128

        assert (found != seen).mean() < 0.02


def test_a_part_without_the_mask_is_empty():
    mask = np.zeros((50, 50), bool)
    mask[:5, :5] = True

    assert not square_mask(mask_to_rle(mask), 50, 50, View(20, 20, 20, 20), 32).any()


def test_parts_contain_what_they_are_drawn_around():
    settings = AugmentationSection(crop=1.0, crop_least=0.3, flip=0.5)
    random = np.random.default_rng(0)
    seen = set()
    for _ in range(500):
        x, y = random.uniform(0, 59.9), random.uniform(0, 39.9)
        view = draw_view(40, 60, (x, y), settings, random)
        assert 0 <= view.x <= x < view.x + view.width <= 60
        assert 0 <= view.y <= y < view.y + view.height <= 40
        seen.add((view.width, view.mirrored))
    assert {mirrored for _, mirrored in seen} == {True, False}
    assert min(width for width, _ in seen) == pytest.approx(18, abs=1)


def test_without_augmentation_nothing_changes():
    rgb, _ = picture(0)

    assert draw_view(96, 128, (3, 3), STILL, np.random.default_rng(0)) == whole(96, 128)
    assert np.array_equal(change_pixels(rgb, STILL, np.random.default_rng(0)), rgb)


def test_scans_are_noisy_and_still_the_same_picture():
    rgb, _ = picture(0)
    settings = STILL.model_copy(update={"scan_noise": 1.0})

    changed = change_pixels(rgb, settings, np.random.default_rng(1)).astype(int)

    assert changed.shape == rgb.shape
    assert 1 < np.abs(changed - rgb).mean() < 30


def test_gray_pictures_have_no_colour():
    rgb, _ = picture(0)
    settings = STILL.model_copy(update={"gray": 1.0})

    changed = change_pixels(rgb, settings, np.random.default_rng(1)).astype(int)

    assert np.ptp(changed, axis=2).max() <= 1


def test_a_step_is_the_same_wherever_the_run_began():
    images, split, config = setup()
    whole_run = batches_of(images, split, config, range(6))
    rest = batches_of(images, split, config, range(3, 6))

    assert len(whole_run) == 12
    assert all(same(a, b) for a, b in zip(whole_run[6:], rest, strict=True))
    assert not same(whole_run[0], whole_run[1])


@pytest.fixture
def failing_at_exit():
    """What Prefect's log leaves to be done when threads end, and fails in a fork of the process."""

    def fail():
        raise RuntimeError("the thread of this process is not in its fork")

    threading._register_atexit(fail)
    yield
    threading._threading_atexits.pop()


def test_workers_read_the_same(failing_at_exit, readers):
    images, split, config = setup()

    here = batches_of(images, split, config, range(3))
    there = batches_of(images, split, config, range(3), workers=2)

    assert all(same(a, b) for a, b in zip(here, there, strict=True))
    assert readers() == set()


def test_workers_end_with_the_batches(readers):
    images, split, config = setup()
    places = StepBatches(Course(split, 4, config.seed), range(50), 2, 2)

    with contextlib.closing(load(StepImages(images, split, config), places, 1, False)) as batches:
        next(batches)
        assert len(readers()) == 1

    assert readers() == set()


def test_images_that_workers_cannot_be_sent_are_told():
    images, split, config = setup(2, pixels=lambda: picture(0)[0])

    with pytest.raises(TrainingDataError, match=r"cannot be sent .* set data\.workers to 0"):
        batches_of(images, split, config, range(1), workers=1)


def test_an_epoch_shows_every_image():
    _, split, config = setup(10)
    course = Course(split, 4, config.seed)

    assert course.steps_per_epoch == 3
    for epoch in range(3):
        steps = range(3 * epoch, 3 * epoch + 3)
        shown = [p.number for s in steps for p in course.places(s, range(4))]
        assert set(shown) == set(range(10))
        assert len(shown) == 12
    assert [p.number for p in course.places(0, range(4))] != [
        p.number for p in course.places(3, range(4))
    ]


def test_fewer_images_than_a_step_needs_are_shown_several_times():
    _, split, config = setup(3)

    shown = [p.number for p in Course(split, 8, config.seed).places(0, range(8))]

    assert set(shown) == {0, 1, 2}


def test_processes_share_a_step_without_overlap():
    _, split, config = setup(16)
    course = Course(split, 16, config.seed)
    alone = [p for part in StepBatches(course, range(2), 2, 8) for p in part]
    shared = [
        p
        for rank in range(4)
        for part in StepBatches(course, range(2), 2, 2, rank, 4)
        for p in part
    ]

    assert sorted(alone) == sorted(shared)


def test_heavy_images_are_shown_more_often():
    images = [training_image(seed, weight=3.0 if seed == 0 else 1.0) for seed in range(4)]
    split = split_images(images, 0.0, 0, 100)
    course = Course(split, 4, 0)

    shown = [p.number for s in range(500) for p in course.places(s, range(4))]

    assert shown.count(0) / len(shown) == pytest.approx(0.5, abs=0.03)


def broken():
    raise OSError("the disk has a scratch")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"pixels": broken}, "the disk has a scratch"),
        (
            {"pixels": lambda: np.zeros((40, 40, 3), np.uint8)},
            "its masks are for uint8 (96, 128, 3)",
        ),
        ({"pixels": lambda: np.zeros((96, 128, 3))}, "float64"),
        ({"rles": (b"12",)}, "mask 0"),
        ({"rles": (mask_to_rle(np.zeros((96, 128), bool)),)}, "large enough"),
    ],
)
def test_an_image_that_cannot_be_used_is_named_and_replaced(changes, told):
    images, split, config = setup(6)
    images[2] = training_image(2, **{"labels": (), **changes})

    sample = StepImages(images, split, config)[Place(0, 0, 2)]

    assert sample.image_id != "picture-2"
    assert [skip.image_id for skip in sample.skipped] == ["picture-2"] * len(sample.skipped)
    assert any(told in skip.reason for skip in sample.skipped)


def test_a_damaged_mask_does_not_cost_the_others():
    images, split, _ = setup(1)
    whole_masks = images[0].rles
    images[0] = training_image(0, rles=(whole_masks[0], b"7", whole_masks[2]))

    sample = StepImages(images, split, tiny_settings(augmentation={"crop": 0.0}))[Place(0, 0, 0)]

    assert sample.image_id == "picture-0"
    assert len(sample.masks) == 2
    assert [skip.reason[:7] for skip in sample.skipped] == ["mask 1:"]


def test_a_folder_of_damage_ends_in_an_error():
    images, split, config = setup(4, pixels=broken)

    with pytest.raises(TrainingDataError, match="8 images in a row cannot be used"):
        StepImages(images, split, config)[Place(0, 0, 0)]


def test_an_error_in_a_worker_is_the_same_error(readers):
    images, split, config = setup(4, pixels=broken)

    with pytest.raises(TrainingDataError, match=r"^8 images in a row cannot be used"):
        batches_of(images, split, config, range(1), workers=1)
    assert readers() == set()


def test_batches_say_whose_masks_they_hold():
    images, split, config = setup(3)
    samples = [StepImages(images, split, config)[Place(0, n, n)] for n in range(3)]

    batch = join(samples)

    assert batch.images.shape == (3, 3, SIZE, SIZE)
    assert batch.masks.shape[1:] == (SIZE // 2, SIZE // 2)
    assert batch.image_of.tolist() == [n for n, s in enumerate(samples) for _ in s.masks]


def test_few_masks_of_many_are_drawn_anew_each_time():
    images, split, config = setup(1)
    config = tiny_settings(data={"masks_per_image": 1}, augmentation=STILL.model_dump())
    chosen = {
        bytes(StepImages(images, split, config)[Place(step, 0, 0)].masks.numpy().tobytes())
        for step in range(20)
    }

    assert len(chosen) == 3
