import numpy as np
import pytest

from vision.clip.calibration import calibrate, expected_calibration_error
from vision.clip.probabilities import probabilities_of


def drawn(logits, rng, sigmoid=False):
    """Labels that come up as often as the logits say."""
    return np.array([rng.choice(len(row), p=row) for row in probabilities_of(logits, 1.0, sigmoid)])


@pytest.mark.parametrize("true_temperature", [0.3, 1.0, 4.0])
def test_a_known_temperature_is_found_again(true_temperature):
    rng = np.random.default_rng(1)
    logits = rng.normal(size=(20_000, 5)) * 2
    found = calibrate(logits * true_temperature, drawn(logits, rng), sigmoid=False)
    assert found.temperature == pytest.approx(true_temperature, rel=0.05)
    assert found.ece_after < 0.015
    assert found.segments == 20_000
    if true_temperature != 1.0:
        assert found.ece_before > 5 * found.ece_after


def test_of_sigmoids_a_known_temperature_is_found_again():
    rng = np.random.default_rng(2)
    # One label of each segment is right; the others are as often wrong as their logits say.
    targets = rng.integers(0, 3, 30_000)
    logits = rng.normal(size=(30_000, 3)) - 2
    logits[np.arange(len(targets)), targets] += 4
    sharp = calibrate(logits * 3, targets, sigmoid=True)
    plain = calibrate(logits, targets, sigmoid=True)
    assert sharp.temperature == pytest.approx(3 * plain.temperature, rel=0.02)


def test_the_temperature_leaves_the_best_label_as_it_is():
    rng = np.random.default_rng(3)
    logits = rng.normal(size=(50, 4)) * 9
    targets = rng.integers(0, 4, 50)
    found = calibrate(logits, targets, sigmoid=False)
    assert found.accuracy == (logits.argmax(1) == targets).mean()
    assert found.temperature > 1  # sure, and mostly wrong


def test_the_calibration_error_of_a_worked_example():
    confidence = np.array([0.95, 0.95, 0.55, 0.55])
    correct = np.array([True, False, True, False])
    # Two bins: 0.95 and half right, 0.55 and half right.
    assert expected_calibration_error(confidence, correct) == pytest.approx(0.25)
    assert expected_calibration_error(np.array([1.0]), np.array([True])) == 0


def test_a_temperature_that_little_speaks_for_is_doubtful():
    rng = np.random.default_rng(4)
    logits = rng.normal(size=(3000, 3)) * 2
    assert not calibrate(logits, drawn(logits, rng), sigmoid=False).is_doubtful
    assert calibrate(logits[:20], drawn(logits[:20], rng), sigmoid=False).is_doubtful
    # Nothing is ever wrong: the surer, the better.
    for sigmoid in (False, True):
        apart = np.where(np.eye(3, dtype=bool)[rng.integers(0, 3, 500)], 5.0, -5.0)
        assert calibrate(apart, apart.argmax(1), sigmoid).is_doubtful


def test_nothing_to_calibrate_on_is_told():
    with pytest.raises(ValueError, match="no labelled segments"):
        calibrate(np.empty((0, 3)), np.empty(0, np.int64), sigmoid=False)
