"""The paired bootstrap of groups gives what counting all draws gives."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from vision.metrics import bootstrap, paired_bootstrap


def all_draws(difference, groups):
    """The mean difference in each of the k**k equally likely draws of k groups."""
    names = sorted(set(groups))
    return np.array(
        [
            np.concatenate([difference[groups == name] for name in drawn]).mean()
            for drawn in product(names, repeat=len(names))
        ]
    )


def test_probability_and_interval_are_those_of_all_draws():
    difference = np.array([0.3, 0.1, -0.2, -0.1, 0.05, 0.02, -0.3, 0.4, 0.0])
    groups = np.array(list("aabbbccde"))
    exact = all_draws(difference, groups)
    found = paired_bootstrap(difference, np.zeros(9), groups, seed=1, resamples=200_000)
    assert found.mean_difference == pytest.approx(difference.mean())
    assert found.probability_not_better == pytest.approx((exact <= 0).mean(), abs=0.005)
    assert found.low == pytest.approx(np.quantile(exact, 0.025), abs=0.01)
    assert found.high == pytest.approx(np.quantile(exact, 0.975), abs=0.01)
    assert (found.values, found.groups, found.resamples) == (9, 5, 200_000)


def test_draws_are_a_plain_loops(monkeypatch):
    # Chunks must not change what is drawn.
    monkeypatch.setattr(bootstrap, "_CHUNK_DRAWS", 50)
    rng = np.random.default_rng(3)
    candidate, baseline = rng.random(40), rng.random(40)
    groups = rng.integers(0, 7, 40)
    found = paired_bootstrap(candidate, baseline, groups, seed=9, resamples=501)
    draws = np.random.default_rng(9)
    means = []
    for _ in range(501):
        drawn = draws.integers(7, size=7)
        values = np.concatenate([(candidate - baseline)[groups == g] for g in drawn])
        means.append(values.mean())
    low, high = np.quantile(means, [0.025, 0.975])
    assert (found.low, found.high) == pytest.approx((low, high))
    assert found.probability_not_better == np.mean(np.array(means) <= 0)


def test_values_of_a_group_do_not_make_it_surer():
    rng = np.random.default_rng(0)
    per_image = rng.normal(0.02, 0.1, 30)
    copies = np.repeat(per_image, 20)
    groups = np.repeat(np.arange(30), 20)
    single = paired_bootstrap(per_image, np.zeros(30), seed=0)
    grouped = paired_bootstrap(copies, np.zeros(600), groups, seed=0)
    naive = paired_bootstrap(copies, np.zeros(600), seed=0)
    assert (grouped.low, grouped.high) == pytest.approx((single.low, single.high))
    assert naive.high - naive.low < 0.4 * (grouped.high - grouped.low)


def test_the_interval_is_that_of_normal_theory():
    difference = np.random.default_rng(4).normal(0.1, 1, 400)
    found = paired_bootstrap(difference, np.zeros(400), seed=2)
    error = difference.std() / 20
    assert found.low == pytest.approx(difference.mean() - 1.96 * error, abs=0.1 * error)
    assert found.high == pytest.approx(difference.mean() + 1.96 * error, abs=0.1 * error)
    narrower = paired_bootstrap(difference, np.zeros(400), seed=2, confidence=0.5)
    assert found.low < narrower.low < narrower.high < found.high


@given(
    hnp.arrays(np.float64, st.integers(2, 30), elements=st.floats(0, 1, width=16)),
    st.integers(0, 1000),
)
def test_the_same_model_is_not_better(values, seed):
    found = paired_bootstrap(values, values, seed=seed, resamples=50)
    assert (found.mean_difference, found.low, found.high) == (0, 0, 0)
    assert found.probability_not_better == 1


@given(st.integers(0, 2**31), st.permutations(range(12)))
def test_order_and_names_of_groups_do_not_matter(seed, order):
    rng = np.random.default_rng(0)
    candidate, baseline = rng.random((2, 12)).round(3)
    groups = np.array([0, 0, 1, 1, 1, 2, 3, 3, 4, 5, 5, 5])
    found = paired_bootstrap(candidate, baseline, groups, seed=seed, resamples=40)
    order = np.array(order)
    again = paired_bootstrap(
        candidate[order], baseline[order], groups[order], seed=seed, resamples=40
    )
    named = paired_bootstrap(
        candidate, baseline, [f"image {group}" for group in groups], seed=seed, resamples=40
    )
    for other in (again, named):
        assert (found.low, found.high) == pytest.approx((other.low, other.high))


def test_swapped_models_have_the_opposite_difference():
    rng = np.random.default_rng(8)
    first, second = rng.random((2, 50))
    found = paired_bootstrap(first, second, seed=1)
    swapped = paired_bootstrap(second, first, seed=1)
    assert (found.low, found.high) == pytest.approx((-swapped.high, -swapped.low))
    assert found.probability_not_better == pytest.approx(1 - swapped.probability_not_better)
    assert found == paired_bootstrap(first, second, seed=1)


@pytest.mark.parametrize(
    ("candidate", "baseline", "options", "message"),
    [
        ([1, 2], [1, 2, 3], {}, r"\(2,\) and \(3,\)"),
        ([[1, 2]], [[1, 2]], {}, "two lists"),
        ([1, np.nan], [1, 2], {}, "not finite"),
        ([1, 2], [1, np.inf], {}, "not finite"),
        ([1, 2], [1, 2], {"groups": [1]}, "a group for each value"),
        ([1, 2], [1, 2], {"groups": [1, 1]}, "at least 2 groups, but got 1"),
        ([], [], {}, "at least 2 groups, but got 0"),
        ([1, 2], [1, 2], {"resamples": 0}, "resamples"),
        ([1, 2], [1, 2], {"confidence": 1}, "confidence"),
    ],
)
def test_what_cannot_be_compared_is_refused(candidate, baseline, options, message):
    with pytest.raises(ValueError, match=message):
        paired_bootstrap(candidate, baseline, seed=0, **options)
