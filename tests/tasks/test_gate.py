from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from storage.evaluations import Evaluation, Metric
from tasks.gate import compare_metric, decide
from tasks.gate_rules import Gate, GateFileError, load_gate
from tests.evaluations import METRICS, metric

NOW = datetime(2026, 5, 4, tzinfo=UTC)
IMAGES = 60


def evaluation(model_id="live", **metrics):
    steady = dict.fromkeys(METRICS, metric(np.full(IMAGES, 0.5)))
    return Evaluation(
        f"evaluation of {model_id}", model_id, "pages", "val", None, IMAGES,
        {name.replace("_at_", "@"): found for name, found in (steady | metrics).items()}, None, NOW,
    )  # fmt: skip


def gate(*rules, **values):
    return Gate.model_validate({"rules": rules, **values})


IMPROVE = {"metric": "iou", "must": "improve"}
HOLD = {"metric": "iou", "must": "hold", "tolerance": 0.02}
ALIKE = HOLD | {"better": "same", "relative": True, "tolerance": 1.0}
NOISE = np.random.default_rng(1).normal(0, 0.05, IMAGES)
NOISE -= NOISE.mean()


@pytest.mark.parametrize(
    ("rule", "gain", "passes", "words"),
    [
        (IMPROVE, 0.05, True, "better by more than noise"),
        (IMPROVE, 0.005, False, "luck with the images"),
        (IMPROVE, -0.05, False, "luck with the images"),
        (IMPROVE | {"beyond_noise": False}, 0.005, True, "better"),
        (IMPROVE | {"beyond_noise": False, "min_gain": 0.01}, 0.005, False, "0.01"),
        (IMPROVE | {"min_gain": 0.1}, 0.05, False, "less than the 0.1 that is asked for"),
        (IMPROVE | {"better": "lower"}, -0.05, True, "better by more than noise"),
        (IMPROVE | {"better": "lower"}, 0.05, False, "luck"),
        (HOLD, 0.5, True, "not worse"),
        (HOLD, -0.01, True, "not worse by more than 0.02"),
        (HOLD, -0.03, False, "worse by more than the 0.02"),
        (HOLD | {"better": "lower"}, 0.03, False, "worse by more"),
        (HOLD | {"better": "lower"}, -0.5, True, "not worse"),
        (HOLD | {"better": "same"}, 0.03, False, "another by more"),
        (HOLD | {"better": "same"}, -0.03, False, "another by more"),
        (HOLD | {"better": "same"}, -0.01, True, "not another"),
        (ALIKE, 0.49, True, "within 0.25 to 1, which is tolerated"),
        (ALIKE, 0.51, False, "outside 0.25 to 1"),
        (ALIKE, -0.24, True, "within"),
        (ALIKE, -0.26, False, "outside"),
        (ALIKE | {"tolerance": 0.25}, -0.11, False, "outside 0.4 to 0.625"),
        (HOLD | {"relative": True}, -0.009, True, "0.01"),
        (HOLD | {"relative": True}, -0.011, False, "worse by more than the 0.01"),
    ],
)
def test_rules(rule, gain, passes, words):
    live = evaluation(iou=metric(np.full(IMAGES, 0.5)))
    candidate = evaluation("new", iou=metric(0.5 + gain + NOISE))
    decision = decide(gate(rule), candidate, live)
    assert decision.verdict == ("promote" if passes else "refuse")
    alike, found = decision.rules
    assert (alike.rule, alike.passed) == ("comparable", True)
    assert (found.passed, words in found.words) == (passes, True)
    assert (found.candidate, found.live) == pytest.approx((0.5 + gain, 0.5))
    expected = -gain if rule.get("better") == "lower" else gain
    assert found.gain == pytest.approx(expected)
    assert found.low < found.gain < found.high
    assert found.images == IMAGES
    assert decision.live_id == "live"


def test_one_rule_that_fails_is_enough_and_all_are_told():
    rules = (IMPROVE, HOLD, HOLD | {"metric": "ar@1000"})
    live = evaluation(iou=metric(np.full(IMAGES, 0.5)))
    candidate = evaluation("new", iou=metric(0.6 + NOISE), ar_at_1000=metric(0.4 + NOISE))
    decision = decide(gate(*rules), candidate, live)
    assert [rule.passed for rule in decision.rules] == [True, True, True, False]
    assert decision.verdict == "refuse"
    assert "ar@1000: 0.5 to 0.4" in decision.rules[-1].words


def test_images_that_are_alike_are_drawn_together():
    groups = {f"image-{number:03}": f"book {number // 20}" for number in range(IMAGES)}
    gains = np.repeat([0.30, 0.02, -0.01], 20)  # one lucky book
    live = evaluation(iou=metric(np.full(IMAGES, 0.5), groups))
    alone = evaluation(iou=metric(np.full(IMAGES, 0.5)))
    candidate = evaluation("new", iou=metric(0.5 + gains))
    assert decide(gate(IMPROVE), candidate, alone).verdict == "promote"
    decision = decide(gate(IMPROVE, min_images=3), candidate, live)
    assert decision.verdict == "refuse"
    assert "60 images in 3 groups): this may be luck" in decision.rules[-1].words


def test_objects_of_an_image_are_compared_one_by_one_and_drawn_together():
    live = Metric(0.5, {f"i{n}": (0.4, 0.6) for n in range(30)})
    candidate = Metric(0.6, {f"i{n}": (0.5, 0.7) for n in range(30)})
    found = compare_metric(candidate, live, 0.95, 1000, 0)
    assert (found.values, found.groups) == (60, 30)
    assert found.mean_difference == pytest.approx(0.1)
    more = Metric(0.6, {f"i{n}": (0.5, 0.7, 0.6) for n in range(30)})
    assert compare_metric(more, live, 0.95, 1000, 0) is None
    decision = decide(gate(IMPROVE), evaluation("new", iou=more), evaluation(iou=live))
    assert "image i0 has 3 values, and 2 of the live model" in decision.rules[-1].words


@pytest.mark.parametrize(
    ("candidate", "words"),
    [
        (
            metric(np.full(IMAGES - 1, 0.9)),
            "values of 59 images, the live model of 60, and only 59",
        ),
        (Metric(0.9), "no values of single images"),
        (None, "the measurement of the candidate has no 'iou'"),
    ],
)
def test_what_cannot_be_compared_is_refused_in_words(candidate, words):
    live = evaluation(iou=metric(np.full(IMAGES, 0.5)))
    metrics = {} if candidate is None else {"iou": candidate}
    decision = decide(gate(IMPROVE), evaluation("new", **metrics), live)
    assert decision.verdict == "refuse"
    assert words in decision.rules[-1].words


def test_a_metric_that_is_misspelt_names_the_nearest():
    decision = decide(gate(HOLD | {"metric": "ar@100"}), evaluation("new"), evaluation())
    assert "did you mean ar@1000?" in decision.rules[-1].words


def test_few_images_decide_nothing():
    few = metric(np.full(5, 0.9))
    decision = decide(gate(HOLD), evaluation("new", iou=few), evaluation(iou=few))
    assert decision.verdict == "refuse"
    assert (
        "5 images in 5 groups are too few to decide; min_images is 20" in decision.rules[-1].words
    )


def test_many_images_in_few_groups_decide_nothing():
    groups = {f"image-{number:03}": f"book {number // 30}" for number in range(IMAGES)}
    live = evaluation(iou=metric(np.full(IMAGES, 0.5), groups))
    candidate = evaluation("new", iou=metric(np.full(IMAGES, 0.502)))
    for rule in (IMPROVE, HOLD):
        decision = decide(gate(rule), candidate, live)
        assert decision.verdict == "refuse"
        words = "60 images in 2 groups are too few to decide; min_images is 20"
        assert words in decision.rules[-1].words
    assert decide(gate(IMPROVE, min_images=2), candidate, live).verdict == "promote"


@pytest.mark.parametrize(
    "other", [{"dataset": "street"}, {"split": "test"}, {"images": 61}, {"params_id": "p"}]
)
def test_measurements_of_other_images_are_refused_before_any_rule(other):
    candidate = replace(evaluation("new"), **other)
    decision = decide(load_gate(), candidate, evaluation())
    assert decision.verdict == "refuse"
    (rule,) = decision.rules
    assert "measure both alike" in rule.words


def test_the_gate_that_ships_lets_a_better_model_pass_and_a_worse_one_not():
    live = evaluation()
    better = {"miou_at_1.centre": metric(0.6 + NOISE)}
    assert decide(load_gate(), evaluation("new", **better), live).verdict == "promote"
    assert decide(load_gate(), evaluation("same"), live).verdict == "refuse"
    for name, bad in (("ar@1000", 0.4), ("empty_share", 0.6), ("masks_per_image", 1.1),
                      ("masks_per_image", 0.2)):  # fmt: skip
        worse = better | {name: metric(np.full(IMAGES, bad))}
        decision = decide(load_gate(), evaluation("new", **worse), live)
        assert [rule.metric for rule in decision.rules if not rule.passed] == [name]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("rules: [{metric: x, must: improve, min_gian: 1}]",
         "rules.0.min_gian: unknown key; did you mean min_gain?"),
        ("rules: [{metric: x, must: hold, tolerence: 1}]", "did you mean tolerance?"),
        ("rules: [{metric: x, must: hold}]", "rules.0.tolerance"),
        ("confidance: 0.9\nrules: [{metric: x, must: improve}]", "did you mean confidence?"),
        ("xyzzy: 1\nrules: [{metric: x, must: improve}]", "known are rules, confidence"),
        ("rules: [{metric: x, must: imporve}]", "imporve"),
        ("rules: []", "rules"),
        ("rules: [{metric: x, must: improve, min_gain: .inf}]", "min_gain"),
        ("confidence: 1.0\nrules: [{metric: x, must: improve}]", "confidence"),
        ("- a\n", "the file"),
        (": : :", "gate.yaml"),
        ("rules: [{metric: x, must: hold, tolerance: 2024-13-45}]", "month must be in 1..12"),
        ("rules: [{metric: x, must: hold, tolerance: 0.01, tolerance: 0.5}]",
         "tolerance is given twice"),
        ("[rules]: 1", "cannot be a key"),
        ("rules: &x [*x]", "rules"),
        ("2024-01-01: 1", "2024-01-01"),
    ],
)  # fmt: skip
def test_a_file_of_rules_that_is_wrong_says_where(tmp_path, text, words):
    (tmp_path / "gate.yaml").write_text(text)
    with pytest.raises(GateFileError) as caught:
        load_gate(tmp_path / "gate.yaml")
    assert words in str(caught.value)
    assert "gate.yaml" in str(caught.value)


def test_a_file_that_is_not_there_is_told(tmp_path):
    with pytest.raises(GateFileError, match=r"absent\.yaml"):
        load_gate(tmp_path / "absent.yaml")
