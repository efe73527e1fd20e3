from datetime import UTC, datetime, timedelta

import pytest

from storage.evaluations import Evaluation, Metric
from tasks.frozen_set import measuring_order
from tasks.measured_pairs import newest_pair

BEGIN = datetime(2026, 5, 4, tzinfo=UTC)
IMAGES = sorted((f"image-{number}" for number in range(8)), key=measuring_order)


def measured(hour, set_id, images=IMAGES, *, objects=2, **other):
    per_image = dict.fromkeys(images, (0.5,) * objects)
    facts = {"dataset": "pages", "split": "val", "params_id": None} | other
    return Evaluation(
        evaluation_id=f"{hour}",
        model_id="m",
        images=len(images),
        metrics={"miou": Metric(0.5, per_image), "coverage": Metric(0.5, {images[0]: (0.5,)})},
        run_id=None,
        evaluated_at=BEGIN + timedelta(hours=hour),
        set_id=set_id,
        **facts,
    )


def test_the_newest_that_were_made_alike_are_taken():
    ours = [measured(1, "a"), measured(3, "b")]
    theirs = [measured(2, "a"), measured(4, "b")]
    assert newest_pair(ours, theirs) == (ours[1], theirs[1])
    assert newest_pair(ours[:1], theirs[:1]) == (ours[0], theirs[0])
    assert newest_pair([], theirs) is None


@pytest.mark.parametrize(
    "newer",
    [
        measured(3, "b"),
        measured(3, None),
        measured(3, "b", IMAGES[1:]),  # not the ones that are measured first
        measured(3, "b", IMAGES[:5], objects=3),
        measured(3, "b", [*IMAGES[:5], "image-99"]),
    ],
)
@pytest.mark.parametrize("of_candidate", [True, False])
def test_what_was_measured_before_the_set_changed_is_out_of_date(newer, of_candidate):
    ours, theirs = [measured(1, "a")], [measured(2, "a")]
    (ours if of_candidate else theirs).append(newer)
    assert newest_pair(ours, theirs) is None


@pytest.mark.parametrize(
    "newer",
    [
        measured(3, "b", IMAGES[:5]),
        measured(3, "b", [*IMAGES, "image-99"], dataset="street"),
        measured(3, "b", objects=3, split="test"),
        measured(3, "b", params_id="p"),
    ],
)
def test_fewer_images_or_another_measurement_make_nothing_out_of_date(newer):
    ours, theirs = [measured(1, "a")], [measured(2, "a")]
    assert newest_pair([*ours, newer], theirs) == (ours[0], theirs[0])
    assert newest_pair(ours, [*theirs, newer]) == (ours[0], theirs[0])


def test_all_images_do_not_make_some_of_them_out_of_date():
    few = IMAGES[:5]
    ours, theirs = [measured(1, "a", few), measured(3, "b")], [measured(2, "a", few)]
    assert newest_pair(ours, theirs) == (ours[0], theirs[0])


def test_a_measurement_that_ended_late_does_not_bring_an_old_set_back():
    ours, theirs = [measured(1, "a"), measured(3, "b")], [measured(4, "a")]
    assert newest_pair(ours, theirs) is None
