import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.training import training_image
from vision.finetune import TrainingDataError, TrainingImage
from vision.finetune.split import split_images


def image(name, group=None, split=None, rles=(b"1",), labels=(), weight=1.0, vouched=None):
    return TrainingImage(name, lambda: None, 1, 1, rles, labels, weight, group, split, vouched)


def split(images, share=0.2, seed=0, most=1000):
    return split_images(images, share, seed, most)


@given(
    st.lists(st.integers(0, 6), min_size=2, max_size=60).filter(lambda g: len(set(g)) > 1),
    st.floats(0.01, 0.5),
    st.integers(0, 5),
)
@example(groups=[0, 0, 1], share=0.5, seed=1)
@example(groups=[0, 1], share=0.5, seed=0)
def test_no_group_is_on_both_sides(groups, share, seed):
    images = [image(f"i{n}", f"g{group}") for n, group in enumerate(groups)]

    found = split(images, share, seed)

    sides = [{groups[place] for place in side} for side in (found.train, found.val)]
    assert sides[0] & sides[1] == set()
    assert sorted(found.train + found.val) == list(range(len(groups)))
    assert found.train
    assert found.val


def test_images_without_a_group_are_divided_one_by_one():
    found = split([image(f"i{n}") for n in range(100)], 0.2)

    assert len(found.val) == 20


def test_the_draw_does_not_depend_on_the_order():
    images = [image(f"i{n}", f"g{n // 3}") for n in range(30)]

    one, other = split(images), split(images[::-1])

    assert {images[n].image_id for n in one.val} == {images[::-1][n].image_id for n in other.val}


def test_another_seed_draws_another_split():
    images = [image(f"i{n}") for n in range(50)]

    assert split(images, seed=1).val != split(images, seed=2).val


def test_no_share_means_no_validation():
    found = split([image("a"), image("b")], 0)

    assert found.val == ()
    assert "no validation" in found.notes[-1]


def test_one_group_cannot_be_divided():
    images = [image("a", "book"), image("b", "book")]

    with pytest.raises(TrainingDataError, match=r"all 2 .* of one group \(book\).*val_share"):
        split(images)
    assert split(images, 0).train == (0, 1)


def test_a_split_that_is_given_is_kept():
    found = split([image("a", split="train"), image("b", split="val"), image("c", split="train")])

    assert (found.train, found.val) == ((0, 2), (1,))


def test_validation_images_of_groups_that_are_learnt_from_are_left_out():
    images = [image("a", "x", "train"), image("b", "x", "val"), image("c", "y", "val")]

    found = split(images)

    assert (found.train, found.val) == ((0,), (2,))
    assert "1 images for validation" in found.notes[0]


def test_images_without_a_side_join_their_group():
    images = [image("a", "x", "train"), image("b", "y", "val"), image("c", "y"), image("d", "z")]

    found = split(images)

    assert (found.train, found.val) == ((0, 3), (1, 2))


@pytest.mark.parametrize("in_group", [1, 3])
def test_validation_is_bounded_and_the_others_are_learnt_from(in_group):
    images = [image(f"i{n}", f"g{n // in_group}") for n in range(100)]

    found = split(images, 0.5, most=7)

    assert len(found.val) == 7 // in_group * in_group + (in_group == 3)  # i99 is alone
    assert len(found.train) == 100 - len(found.val)


def test_groups_that_are_taken_whole_stay_within_the_bound():
    images = [image(f"i{n}", f"g{n // 7}") for n in range(140)]

    found = split(images, 0.1, most=20)

    assert (len(found.train), len(found.val)) == (126, 14)
    found = split(images, 0.11, most=16)  # two groups are too few, three too many
    assert (len(found.train), len(found.val)) == (126, 14)


def test_of_a_group_above_the_bound_some_images_are_looked_at():
    found = split([image(f"i{n}", f"g{n % 2}") for n in range(40)], 0.1, most=5)

    assert (len(found.train), len(found.val)) == (20, 5)


def test_a_validation_that_is_given_is_bounded_too():
    images = [image(f"i{n}", split="train" if n < 10 else "val") for n in range(30)]

    found = split(images, most=7)

    assert (len(found.train), len(found.val)) == (10, 7)


def test_validation_is_on_images_with_masks_that_somebody_vouches_for():
    """A tenth of these: people's masks are what is best to learn from, too."""
    images = [image(f"i{n}", vouched=None if n % 10 == 0 else ()) for n in range(200)]

    found = split(images, 0.1)

    assert len(found.val) == 2
    assert all(place % 10 == 0 for place in found.val)
    assert len(found.train) == 198


def test_what_is_like_a_validation_image_is_not_learnt_from():
    images = [image(f"i{n}", f"g{n // 2}", vouched=() if n % 2 else (0,)) for n in range(40)]

    found = split(images, 0.1)

    assert len(found.val) == 2
    assert all(place % 2 == 0 for place in found.val)
    assert set(range(40)) - set(found.train) == {p + more for p in found.val for more in (0, 1)}


def test_a_few_images_that_somebody_vouches_for_are_learnt_from_like_others():
    """One image alone would choose the weights, and nobody's correction would be learnt."""
    images = [image(f"i{n}", vouched=None if n % 12 == 0 else ()) for n in range(100)]

    found = split(images, 0.1)

    assert len(found.val) == 10
    assert found.val == split([image(f"i{n}", vouched=()) for n in range(100)], 0.1).val
    assert any(place % 12 == 0 for place in found.train)
    vouched = sum(place % 12 == 0 for place in found.val)
    assert f"nobody vouches for a mask of {10 - vouched} of 10 validation images" in found.notes[0]


def test_a_validation_that_is_given_looks_at_vouched_images_too():
    learnt = image("a", split="train")
    vouched = [image(f"b{n}", split="val") for n in range(10)]
    ruled = image("c", split="val", vouched=())

    assert split([learnt, *vouched, ruled]).val == tuple(range(1, 11))
    assert split([learnt, vouched[0], ruled]).val == (1, 2)
    assert split([learnt, ruled]).val == (1,)


def test_where_nobody_vouches_for_a_mask_all_images_may_validate():
    images = [image(f"i{n}") for n in range(50)]
    ruled = [image(f"i{n}", vouched=()) for n in range(50)]

    found = split(ruled)

    assert (found.train, found.val) == (split(images).train, split(images).val)
    assert found.digest == split(images).digest
    assert "nobody vouches" in found.notes[0]
    assert split(images).notes == ()
    (note,) = split(ruled, 0.0).notes
    assert "there is no validation" in note


@pytest.mark.parametrize("images", [[], [image("a", rles=())]])
def test_nothing_to_learn_from_is_told(images):
    with pytest.raises(TrainingDataError, match="nothing to learn from"):
        split(images)


def test_only_validation_images_are_nothing_to_learn_from():
    with pytest.raises(TrainingDataError, match="all images are for validation"):
        split([image("a", split="val")])


def test_images_without_a_mask_are_left_out_and_told():
    found = split([image("a"), image("b", rles=()), image("c")])

    assert found.images == 2
    assert "1 of 3 images have no mask" in found.notes[0]


def test_one_label_only_is_told():
    found = split([image("a", labels=("dog",)), image("b", labels=("dog",))])

    assert "all masks are labelled dog" in found.notes[0]
    assert found.labels == {"dog": 2}


@pytest.mark.parametrize("weight", [0.0, -1.0, float("nan"), float("inf")])
def test_weights_must_be_positive(weight):
    with pytest.raises(TrainingDataError, match="a: expected a positive weight"):
        split([image("a", weight=weight)])


def test_two_images_of_one_name_are_refused():
    with pytest.raises(TrainingDataError, match="two images are called a"):
        split([image("a"), image("a")])


def test_the_digest_tells_data_apart():
    images = [training_image(seed) for seed in range(3)]
    digest = split(images).digest

    assert split([training_image(seed) for seed in range(3)]).digest == digest
    assert split([*images[:2], training_image(2, weight=2.0)]).digest != digest
    assert split([*images[:2], training_image(2, rles=images[0].rles)]).digest != digest
    assert split([training_image(1), training_image(0), training_image(2)]).digest != digest
    assert split([*images[:2], training_image(2, vouched=(1,))]).digest != digest
    assert split([*images[:2], training_image(2, vouched=())]).digest != digest


def test_the_digest_tells_where_the_bound_of_validation_divides_otherwise():
    """A run that began when images beyond the bound went unused must not go on with them."""
    images = [image(f"i{n}") for n in range(100)]

    assert split(images, 0.2, most=30).digest == split(images, 0.2, most=1000).digest
    assert split(images, 0.2, most=19).digest != split(images, 0.2, most=1000).digest
