"""Enough new curated masks are an occasion to train, noted once for the same data."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import numpy as np
import pytest

from storage.lake import Lake
from storage.session import connect
from tasks.apply_rules import apply_rules
from tasks.crossings import (
    OtherDatasetError,
    UnknownCrossingError,
    begin_crossing,
    find_crossing,
    note_said,
)
from tasks.curation import count_curated
from tasks.curation_rules import CurationRules
from tasks.data_version import EPOCH, CuratedMark, DataVersion
from tasks.training_data import NoTrainingDataError, TrainingData
from tests.lakes import NIGHT, cut, image_row, ingest, segment_row
from tests.storage.test_curated import annotation_row, bring
from tests.tasks.test_apply_rules import decide, root_of
from vision.masks import mask_to_rle

OTHER_MASK = mask_to_rle(np.eye(30, 40, dtype=bool))


@pytest.fixture
def lake(tmp_path) -> Lake:
    """Six segments on two images."""
    lake = Lake.open(str(tmp_path))
    ingest(lake, "i", [image_row("a"), image_row("b")])
    rows = [segment_row("a", "text" if n == 5 else "panel", segment_id=f"s{n}") for n in range(6)]
    cut(lake, "s", ["a", "b"], rows)
    return lake


def new(lake, per_label=0, dataset="comics"):
    return count_curated.fn(root_of(lake), dataset, 2, per_label).new


def find(lake, needed=2, per_label=0, dataset="comics", run_id="run"):
    return find_crossing.fn(root_of(lake), dataset, needed, per_label, run_id)


def states(lake):
    with connect(lake) as session:
        return session.execute(
            "SELECT state, count(*) FROM crossings GROUP BY 1 ORDER BY 1"
        ).fetchall()


def train(lake, state="completed", dataset="comics", **tables):
    with connect(lake) as session:
        (until,) = session.execute("SELECT max(committed_at) FROM units").fetchall()[0]
        (reviews,) = session.execute("SELECT max(table_version) FROM reviews").fetchall()[0]
    version = DataVersion(dataset, {"reviews": reviews} | tables, until or EPOCH)
    row = {
        "training_run_id": f"training {lake.version('training_runs')}", "base_model_id": "demo",
        "config": "{}", "data_version": version.to_json(), "seed": 1, "steps": 1, "annotations": 1,
        "started_at": NIGHT, "state": state,
    }  # fmt: skip
    lake.append("training_runs", [row], row["training_run_id"])


def test_decisions_that_curate_something_are_new(lake):
    assert new(lake) == 0
    decide(lake, ["s0", "s1"], "accept")
    decide(lake, "s2", "relabel", label="text")
    decide(lake, "s3", "reject")
    assert new(lake) == 3
    decide(lake, "s0", "reject")
    assert new(lake) == 2
    assert new(lake, dataset="street") == 0


def test_what_a_training_has_seen_is_new_no_more(lake):
    decide(lake, ["s0", "s1"], "accept")
    train(lake, state="failed")
    train(lake, dataset="street")
    assert new(lake) == 2
    train(lake)
    assert new(lake) == 0
    decide(lake, "s2", "accept")
    assert new(lake) == 1


def test_a_training_of_all_datasets_counts_and_one_of_a_folder_does_not(lake):
    decide(lake, "s0", "accept")
    row = {"training_run_id": "f", "base_model_id": "demo", "config": "{}",
           "data_version": '{"folder": "photos"}', "seed": 1, "steps": 1, "annotations": 1,
           "started_at": NIGHT, "state": "completed"}  # fmt: skip
    lake.append("training_runs", [row], "folder")
    assert new(lake) == 1
    train(lake, dataset=None)
    assert new(lake) == 0


def test_the_same_said_again_is_not_new_but_another_label_or_mask_is(lake):
    rules = CurationRules(min_score=0.1)
    apply_rules.fn(root_of(lake), "comics", rules)
    assert new(lake) == 6
    train(lake)
    apply_rules.fn(root_of(lake), "comics", CurationRules(min_score=0.2))
    decide(lake, "s0", "accept")
    decide(lake, "s1", "relabel", label="panel")
    decide(lake, "s2", "fix", mask="P14j0000fQ1")
    assert new(lake) == 0
    decide(lake, "s0", "relabel", label="text")
    decide(lake, "s3", "fix", mask=OTHER_MASK)
    assert new(lake) == 2
    decide(lake, "s0", "accept")
    assert new(lake) == 1
    decide(lake, "s4", "reject")
    train(lake)
    decide(lake, "s4", "reopen")
    assert new(lake) == 1


def test_of_a_changed_drop_only_the_changed_annotations_are_new(lake):
    kept = [annotation_row("a", str(n)) for n in range(3)]
    bring(lake, "mon", *kept, annotation_row("b", "4"))
    assert new(lake) == 4
    train(lake)
    changed = annotation_row("b", "4", category="text")
    bring(lake, "mon, changed", *kept, changed, annotation_row("b", "5"))
    assert new(lake) == 2
    train(lake)
    assert new(lake) == 0


def test_labels_with_too_few_curated_masks_do_not_count(lake):
    decide(lake, [f"s{n}" for n in range(6)], "accept")
    found = count_curated.fn(root_of(lake), "comics", 2, 2)
    assert (found.new, found.curated, found.too_few) == (5, 6, {"text": 1})
    assert count_curated.fn(root_of(lake), "comics", 2, 1).too_few == {}
    train(lake)
    assert count_curated.fn(root_of(lake), "comics", 2, 2).too_few == {}


@pytest.mark.parametrize("split", ["test", "val2017", "other"])
def test_masks_that_no_training_takes_are_no_occasion(lake, split):
    ingest(lake, "held back", [image_row("h", split=split)])
    bring(lake, "mon", *[annotation_row("h", str(n)) for n in range(5)])
    found = count_curated.fn(root_of(lake), "comics", 2)
    assert (found.new, found.curated, found.held_back) == (0, 5, 5)
    assert find(lake) is None
    with pytest.raises(NoTrainingDataError):
        TrainingData(lake, dataset="comics")
    bring(lake, "tue", *[annotation_row("a", str(n)) for n in range(2)])
    found = count_curated.fn(root_of(lake), "comics", 2, 3)
    assert (found.new, found.curated, found.too_few) == (0, 7, {"box": 2})
    with TrainingData(lake, dataset="comics") as data:
        assert find(lake).new == data.counts.masks == 2


def test_what_another_dataset_holds_back_is_no_occasion_either(lake):
    decide(lake, [f"s{n}" for n in range(6)], "accept")
    assert new(lake) == 6
    ingest(lake, "i2", [image_row("a", dataset="street", split="test")])
    assert new(lake) == 0
    assert find(lake) is None


def test_enough_new_masks_are_one_occasion(lake):
    decide(lake, "s0", "accept")
    assert find(lake) is None
    decide(lake, "s1", "accept")
    crossing = find(lake)
    assert (crossing.dataset, crossing.new, crossing.needed) == ("comics", 2, 2)
    assert states(lake) == [("crossed", 1)]
    assert new(lake) == 0


def test_it_is_said_again_until_it_is_known_that_it_was_heard(lake):
    decide(lake, ["s0", "s1"], "accept")
    crossing = find(lake)
    assert find(lake) == find(lake, run_id="later") == crossing
    note_said.fn(root_of(lake), crossing)
    note_said.fn(root_of(lake), crossing)
    assert find(lake) is None
    assert states(lake) == [("crossed", 1), ("said", 1)]


def test_the_same_data_is_never_two_occasions(lake):
    decide(lake, ["s0", "s1", "s2"], "accept")
    note_said.fn(root_of(lake), find(lake))
    decide(lake, "s0", "reject")
    assert find(lake) is None
    decide(lake, "s0", "accept")
    assert find(lake) is None
    assert find(lake, needed=1) is None
    train(lake)
    assert find(lake, needed=1) is None


def test_the_next_occasion_takes_as_many_new_masks_again(lake):
    decide(lake, ["s0", "s1"], "accept")
    first = find(lake)
    note_said.fn(root_of(lake), first)
    decide(lake, "s2", "accept")
    assert find(lake) is None
    decide(lake, "s3", "accept")
    second = find(lake)
    assert second.new == 2
    assert second.crossing_id != first.crossing_id
    assert second.mark.covers(first.mark)


def test_of_two_occasions_that_were_not_said_the_last_is(lake):
    decide(lake, ["s0", "s1"], "accept")
    find(lake)
    decide(lake, ["s2", "s3"], "accept")
    assert find(lake).mark.reviews_version == 2
    assert states(lake) == [("crossed", 2)]


def test_what_was_trained_on_is_not_said(lake):
    decide(lake, ["s0", "s1"], "accept")
    crossing = find(lake)
    train(lake, dataset="street")
    assert find(lake) == crossing
    train(lake, state="failed")
    assert find(lake) == crossing
    train(lake)
    assert find(lake) is None


def test_only_one_run_takes_an_occasion_up(lake):
    decide(lake, ["s0", "s1"], "accept")
    crossing = find(lake)
    with ThreadPoolExecutor(4) as pool:
        runs = [f"run {number}" for number in range(4)]
        took = list(
            pool.map(lambda run: begin_crossing(Lake(lake.root), crossing.crossing_id, run), runs)
        )
    assert sorted(took) == [False, False, False, True]
    again = [begin_crossing(lake, crossing.crossing_id, run) for run in runs]
    assert again == took, "the run that took it may ask again"
    assert find(lake) is None
    with pytest.raises(UnknownCrossingError, match="No crossing 'nonsense'"):
        begin_crossing(lake, "nonsense", "run")


def test_an_occasion_is_taken_up_for_its_own_dataset_only(lake):
    decide(lake, ["s0", "s1"], "accept")
    crossing = find(lake)
    with pytest.raises(OtherDatasetError, match=f"'{crossing.dataset}'.*for 'street'"):
        begin_crossing(lake, crossing.crossing_id, "run", "street")
    assert begin_crossing(lake, crossing.crossing_id, "run", crossing.dataset)


@pytest.mark.parametrize("round_", range(3))
def test_runs_at_once_note_one_occasion(lake, round_):
    decide(lake, ["s0", "s1"], "accept")
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: find(Lake(lake.root)), range(4)))
    assert len({crossing.crossing_id for crossing in found}) == 1
    assert states(lake) == [("crossed", 1)]


def test_datasets_have_occasions_of_their_own(lake):
    bring(lake, "mon", annotation_row("a", "1"), annotation_row("b", "2"))
    ingest(lake, "i2", [image_row("a", dataset="street")])
    bring(lake, "tue", *[annotation_row("a", str(n)) for n in range(2)], dataset="street")
    comics, street = find(lake), find(lake, dataset="street")
    assert (comics.new, street.new) == (2, 2)
    assert comics.crossing_id != street.crossing_id
    note_said.fn(root_of(lake), street)
    assert find(lake) == comics


def test_a_version_of_data_is_read_as_it_was_written():
    version = DataVersion("comics", {"units": 3, "reviews": None}, NIGHT)
    assert DataVersion.from_json(version.to_json()) == version
    assert version.mark == CuratedMark(0, NIGHT)
    for text in ("", "{}", "[]", "null", '{"annotations_until": "yesterday"}'):
        assert DataVersion.from_json(text) is None


def test_a_mark_covers_what_does_not_go_beyond_it():
    mark = CuratedMark(3, NIGHT)
    assert mark.covers(mark)
    assert mark.covers(CuratedMark(2, NIGHT - timedelta(1)))
    assert not mark.covers(CuratedMark(2, NIGHT + timedelta(1)))
    assert mark | CuratedMark(2, NIGHT + timedelta(1)) == CuratedMark(3, NIGHT + timedelta(1))


def test_an_occasion_whose_run_died_is_said_again_and_another_run_may_take_it_up(lake, monkeypatch):
    decide(lake, ["s0", "s1"], "accept")
    crossing = find(lake)
    note_said.fn(root_of(lake), crossing)
    assert begin_crossing(lake, crossing.crossing_id, "first")
    assert find(lake) is None
    assert not begin_crossing(lake, crossing.crossing_id, "second")
    monkeypatch.setattr("tasks.crossings.ABANDONED_AFTER", timedelta(0))
    again = find(lake)
    assert (again.crossing_id, again.attempt) == (crossing.crossing_id, 1)
    note_said.fn(root_of(lake), again)
    assert find(lake) is None
    with ThreadPoolExecutor(3) as pool:
        runs = ["second", "third", "fourth"]
        took = list(
            pool.map(lambda run: begin_crossing(Lake(lake.root), crossing.crossing_id, run), runs)
        )
    monkeypatch.undo()
    assert took.count(True) >= 1
    assert [begin_crossing(lake, crossing.crossing_id, run) for run in runs].count(True) == 1
    assert not begin_crossing(lake, crossing.crossing_id, "first")
    monkeypatch.setattr("tasks.crossings.ABANDONED_AFTER", timedelta(0))
    train(lake)
    assert find(lake) is None
    assert not begin_crossing(lake, crossing.crossing_id, "fifth")
