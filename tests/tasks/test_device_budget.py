"""Which batches fit into a budget: the plan, and what is decided while it is carried out."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.device_budget import OVERRUN, DeviceSpeed, plan_night
from tasks.device_use import DeviceUse, cost_of
from tasks.pending_images import PendingImage
from tasks.segment_batch import BatchSummary

SIZES = st.lists(st.integers(1, 40), max_size=30)
SECONDS = st.floats(1e-3, 1e4)


def batches_of(sizes):
    numbers = iter(range(sum(sizes)))
    return [
        [PendingImage(f"{next(numbers):04}", "", "", "drop", "d", 1, 1) for _ in range(size)]
        for size in sizes
    ]


def speed_of(seconds_per_image):
    return DeviceSpeed("cpu", seconds_per_image, 3, 24)


def gave(images, device_seconds):
    return BatchSummary(images, 0, 0, device_seconds=device_seconds, device="cpu")


def carried_out(plan, seconds_per_image, at_once=1):
    """The batches that are begun, with so many at work at once that end in their order."""
    done, at_work, begun = [], [], 0
    while True:
        while (
            begun < len(plan.tonight)
            and len(at_work) < at_once
            and plan.may_begin(done, list(at_work))
        ):
            at_work.append(plan.tonight[begun])
            begun += 1
        if not at_work:
            return begun, sum(batch.device_seconds for batch in done)
        batch = at_work.pop(0)
        done.append(gave(len(batch), len(batch) * seconds_per_image))


@given(SIZES, SECONDS, SECONDS)
def test_a_plan_is_the_beginning_of_the_order_and_keeps_to_the_budget(sizes, budget, each):
    batches = batches_of(sizes)
    plan = plan_night(batches, budget, speed_of(each))
    assert plan.tonight + plan.later == batches
    assert bool(plan.tonight) == bool(batches)
    images = sum(map(len, plan.tonight))
    assert images * each <= budget or len(plan.tonight) == 1
    assert plan.expected_seconds == images * each
    if plan.later:
        assert (images + len(plan.later[0])) * each > budget, "another batch would have fitted"
    assert plan == plan_night(batches, budget, speed_of(each))


@given(SIZES, SECONDS)
def test_without_a_budget_or_a_measured_speed_everything_is_planned(sizes, each):
    batches = batches_of(sizes)
    for plan in (
        plan_night(batches, None, None),
        plan_night(batches, None, speed_of(each)),
        plan_night(batches, each, None),
    ):
        assert (plan.tonight, plan.later) == (batches, [])
    assert plan_night(batches, None, None).may_begin([gave(1, math.inf)], [batches[0]] if sizes
                                                     else [])  # fmt: skip


@given(SIZES, SECONDS, SECONDS, st.floats(0.0, 1.4), st.integers(1, 5))
def test_a_plan_is_kept_on_any_number_of_places_though_the_night_is_faster_or_slower(
    sizes, budget, each, factor, at_once
):
    plan = plan_night(batches_of(sizes), budget, speed_of(each))
    begun, _ = carried_out(plan, each * factor, at_once)
    assert begun == len(plan.tonight)


@given(SIZES, SECONDS, SECONDS, st.integers(1, 5))
def test_without_a_speed_batches_begin_until_the_budget_is_spent(sizes, budget, each, at_once):
    plan = plan_night(batches_of(sizes), budget, None)
    begun, spent = carried_out(plan, each, at_once)
    assert (begun > 0) == bool(sizes)
    if begun < len(plan.tonight):
        assert spent >= budget * (1 - 1e-9)
    if begun > 1:
        before_last = sum(sizes[: begun - 1]) * each
        assert before_last < budget * (1 + 1e-9), "the last one began when the budget was spent"


@given(SIZES, SECONDS, st.floats(1.6, 50), st.integers(1, 5))
def test_a_plan_that_was_wrong_ends_when_the_budget_is_overspent(sizes, each, factor, at_once):
    budget = sum(sizes) * each or 1.0
    plan = plan_night(batches_of(sizes), budget, speed_of(each))
    begun, spent = carried_out(plan, each * factor, at_once)
    at_work = sum(sizes[max(0, begun - at_once) : begun]) * each * factor
    assert spent < OVERRUN * budget * (1 + 1e-9) + at_work
    if begun < len(plan.tonight):
        assert spent >= OVERRUN * budget * (1 - 1e-9)
        assert "overspent" in plan.why_left(begun)


@given(
    SIZES.filter(bool), st.floats(0.5, 20), st.lists(st.floats(0.5, 1.3), min_size=1, max_size=9)
)
def test_nights_with_a_small_budget_finish_every_batch_once_and_in_order(sizes, budget, factors):
    batches, finished, each = batches_of(sizes), [], None
    for night in range(len(batches) + 1):
        pending = batches[len(finished) :]
        if not pending:
            break
        plan = plan_night(pending, budget, speed_of(each) if each else None)
        each = factors[night % len(factors)]
        begun, _ = carried_out(plan, each)
        assert begun
        assert plan.images_left(begun) == sum(map(len, pending[begun:]))
        finished += pending[:begun]
    assert finished == batches


def test_what_is_left_is_told_with_its_reason():
    batches = batches_of([2, 2, 2])
    plan = plan_night(batches, 5.0, speed_of(1.0))
    assert (len(plan.tonight), plan.images_left(2), plan.images_left(1)) == (2, 2, 4)
    assert plan.why_left(2) == ("the budget of 5 s is for 5 images at 1 s each, as measured on cpu")
    assert "images took longer than 1 s as planned" in plan.why_left(1)
    unknown = plan_night(batches, 5.0, None)
    assert "no batch was measured before" in unknown.why_left(1)
    assert unknown.why_left(3) == plan_night(batches, None, None).why_left(3) == ""
    assert plan_night(batches[:2], 5.0, speed_of(1.0)).why_left(2) == ""


def test_batches_that_another_run_had_finished_cost_nothing():
    plan = plan_night(batches_of([2, 2, 2]), 3.0, None)
    by_another = BatchSummary(0, 0, 0)
    assert plan.may_begin([by_another], [])
    assert not plan.may_begin([by_another], [plan.tonight[1]]), "nothing is known of it yet"
    assert plan.may_begin([by_another, gave(2, 1.0)], [plan.tonight[1]])
    assert not plan.may_begin([by_another, gave(2, 2.0)], [plan.tonight[1]])


@pytest.mark.parametrize(
    ("use", "told"),
    [
        (DeviceUse(), []),
        (DeviceUse({"cpu": 12.345}), [("device", "12.3 s on cpu")]),
        (
            DeviceUse({"NVIDIA H100": 1234.5, "cpu": 2.0}, cost=1.25, currency="EUR"),
            [("device", "1,234 s on NVIDIA H100, 2 s on cpu, 1.25 EUR")],
        ),
        (
            DeviceUse({"cpu": 2.0}, 1, "the budget is spent", 1.0, 0.00125),
            [("device", "2 s on cpu, 0.0013 USD"), ("deferred", "1 image: the budget is spent")],
        ),
        (DeviceUse({}, 1200, "why"), [("deferred", "1,200 images: why")]),
    ],
)
def test_a_person_is_told_seconds_cost_and_what_is_deferred(use, told):
    assert use.told() == told


def test_a_cost_is_known_where_a_price_is_set():
    assert cost_of(7200, 2.5) == 5.0
    assert cost_of(7200, 0.0) == 0.0
    assert cost_of(7200, None) is None
