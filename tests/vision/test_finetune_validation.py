import numpy as np
import pytest

from tests.training import picture, tiny_base, tiny_settings, training_image
from vision.finetune.validation import validate_image


@pytest.mark.parametrize(
    ("vouched", "shapes"), [(None, [0, 1, 2]), ((), [0, 1, 2]), ((1,), [1]), ((0, 2), [0, 2])]
)
def test_only_masks_that_somebody_vouches_for_are_asked_for(vouched, shapes):
    model = tiny_base().model.eval()

    seen = validate_image(model, training_image(3, vouched=vouched), tiny_settings())

    assert np.array_equal(seen.truth, np.stack(picture(3)[1])[shapes])
    assert len(seen.ious) == len(shapes)


def test_of_many_masks_the_same_ones_are_drawn_each_time():
    model = tiny_base().model.eval()
    config = tiny_settings(validation={"masks_per_image": 1})
    image = training_image(3, vouched=(0, 2))

    first, again = (validate_image(model, image, config) for _ in range(2))

    assert len(first.truth) == 1
    assert np.array_equal(first.truth, again.truth)
