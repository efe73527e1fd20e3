"""What a night knows of the run that segmented for it, without a Prefect server."""

import pytest

from flows import segment_elsewhere as stage
from flows.child_run import ChildRun
from flows.ingest import run_ingest
from flows.requests import IngestRequest
from flows.running import InProcess
from flows.segment import run_segment
from flows.summaries import DropFailure, IngestSummary, NightlySummary, NotSegmentedError
from tasks.models import OtherModelsError, choose_models, require_ids
from tasks.segmented_by_run import SegmentedByRun, read_segmented
from tests.drops import BLUE, GREEN, RED, write_box_drop

PICTURES = [
    [((4, 4, 10, 8), RED), ((30, 20, 12, 10), BLUE)],
    [],
    [((10, 10, 6, 6), GREEN)],
]


@pytest.fixture
def pending(mill):
    """A mill with three images to cut, and the models to cut them with."""
    write_box_drop(mill.inbox / "monday", PICTURES)
    run_ingest(IngestRequest(dataset="boxes"), mill.settings, InProcess())
    return mill


def choice_of(mill):
    return choose_models.fn(**mill.request.models(mill.settings))


def night(mill, monkeypatch, child, **values):
    """The stage, with a function in place of the run of another deployment."""
    asked = []

    def run_child(deployment, parameters, parent_id, silence_seconds, most_seconds):
        asked.append(parameters["request"])
        return child(parameters["request"])

    monkeypatch.setattr(stage, "run_child", run_child)
    summary = stage.segment_elsewhere(
        "boxes", choice_of(mill), mill.settings, InProcess(),
        budget_seconds=None, deployment="segment/on-ingest", silence_seconds=9,
        most_seconds=99, **values,
    )  # fmt: skip
    return summary, asked


def cut(mill, **changes):
    """Do what the other run would, in this process; returns its summary and what came of it."""
    run = InProcess()
    settings = mill.settings.model_copy(update=changes)
    return run_segment("boxes", choice_of(mill), settings, run), ChildRun(run.run_id)


def test_the_tables_tell_of_a_run_what_it_tells_of_itself(pending):
    (pending.root / "images").rename(pending.root / "kept")
    broken = sorted((pending.root / "kept").rglob("*.png"))[0]
    broken.write_bytes(b"no picture")
    (pending.root / "kept").rename(pending.root / "images")
    summary, child = cut(pending)
    told = read_segmented.fn(pending.settings.root, choice_of(pending), child.run_id)
    assert summary.quarantined == 1
    assert told == SegmentedByRun(
        summary.batches, summary.images, summary.segments, 1, summary.device.seconds
    )


def test_of_a_run_that_did_nothing_the_tables_tell_nothing(pending):
    cut(pending)
    assert read_segmented.fn(pending.settings.root, choice_of(pending), "other") == SegmentedByRun()
    again, second = cut(pending)
    assert again.batches == 0
    told = read_segmented.fn(pending.settings.root, choice_of(pending), second.run_id)
    assert told == SegmentedByRun()


def test_what_another_run_did_is_as_if_the_night_had_done_it(pending, monkeypatch):
    done = []

    def child(request):
        summary, ended = cut(pending)
        done.append(summary)
        return ended

    summary, asked = night(pending, monkeypatch, child)
    unknown = {"points_per_batch": 0, "images_per_batch": 0}
    expected = done[0].model_copy(update=unknown | {"child_run_id": summary.child_run_id})
    assert summary == expected
    assert (summary.images, summary.segments, summary.device.images_deferred) == (3, 3, 0)
    assert asked[0]["expected"]["model_id"] == summary.model_id
    assert asked[0]["model"] == pending.request.model


def test_where_nothing_is_pending_no_run_is_started(pending, monkeypatch):
    cut(pending)
    summary, asked = night(pending, monkeypatch, lambda request: pytest.fail("was started"))
    assert asked == []
    assert (summary.batches, summary.child_run_id, summary.problem) == (0, None, None)


def test_a_run_that_could_not_be_had_is_told_with_what_waits(pending, monkeypatch):
    summary, _ = night(pending, monkeypatch, lambda request: ChildRun(None, "no deployment"))
    assert summary.problem == "no deployment (3 of 3 images wait)"
    assert summary.device.images_deferred == 3
    assert summary.device.deferred_because == "no deployment"


def test_a_run_that_died_after_it_had_done_all_is_no_problem(pending, monkeypatch):
    def child(request):
        return ChildRun(cut(pending)[1].run_id, "it crashed")

    summary, _ = night(pending, monkeypatch, child)
    assert (summary.problem, summary.images) == (None, 3)


def test_a_run_that_died_in_the_middle_counts_for_what_it_did(pending, monkeypatch):
    def child(request):
        run = InProcess()
        run_segment("boxes", choice_of(pending), pending.settings, run, max_batches=1)
        return ChildRun(run.run_id, "it crashed")

    summary, _ = night(pending, monkeypatch, child)
    assert summary.problem == "it crashed (1 of 3 images wait)"
    assert (summary.batches, summary.images) == (1, 2)


def test_a_run_that_completed_and_did_nothing_has_another_root(pending, monkeypatch):
    summary, _ = night(pending, monkeypatch, lambda request: ChildRun("other"))
    assert "run other of segment/on-ingest to finish images" in summary.problem
    assert "SEGMILL_ROOT" in summary.problem


def test_a_run_that_used_other_models_is_told_with_their_ids(pending, monkeypatch):
    def child(request):
        run = InProcess()
        other = choose_models.fn(**pending.request.models(pending.settings) | {"preset": "sam2"})
        run_segment("boxes", other, pending.settings, run)
        return ChildRun(run.run_id)

    summary, _ = night(pending, monkeypatch, child)
    assert "to use the models of this night, found" in summary.problem
    assert summary.images == 0


def test_a_machine_that_has_other_weights_refuses_before_it_works(pending):
    ids = stage.request_for("boxes", choice_of(pending), None).expected.model_dump()
    require_ids(choice_of(pending), **ids)
    with pytest.raises(OtherModelsError, match=r"model_id: expected sam-1, found cutter-"):
        require_ids(choice_of(pending), **ids | {"model_id": "sam-1"})


def nightly_summary(mill, problem, failed):
    segment, _ = cut(mill)
    return NightlySummary.model_construct(
        ingest=IngestSummary(dataset="boxes", drops=[], failed=failed, quarantine_max_fraction=0.3),
        segment=segment.model_copy(update={"problem": problem}),
    )


def test_a_night_fails_with_one_error_for_all_that_is_wrong(pending):
    nightly_summary(pending, None, []).raise_for_problems()
    failed = [DropFailure(source="inbox/monday/", reason="it changes")]
    with pytest.raises(
        NotSegmentedError, match=r"no worker\. Besides, not taken in: inbox/monday/"
    ):
        nightly_summary(pending, "no worker", failed).raise_for_problems()
    with pytest.raises(NotSegmentedError, match=r"^no worker$"):
        nightly_summary(pending, "no worker", []).raise_for_problems()
