from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import write_deltalake

from storage.errors import UnknownEvaluationError
from storage.evaluations import Metric, load_evaluation, read_evaluations, store_evaluation
from storage.gate_decisions import GateDecision, RuleResult, read_decisions, store_decision
from storage.lake import Lake
from storage.schemas import TABLES
from storage.session import connect

METRICS = {
    "miou@1.centre": Metric(0.75, {"a": (0.5, 1.0), "b": (0.75,)}, {"a": "book 1"}),
    "labels": Metric(4.0),
}


def store(lake: Lake, model: str = "m", **values):
    facts = {"dataset": "pages", "split": "val", "images": 2, "metrics": METRICS}
    return store_evaluation(lake, model_id=model, **(facts | values))


def test_a_measurement_comes_back_with_the_values_of_each_image(lake: Lake):
    stored = store(lake, params_id="p", run_id="r")
    found = load_evaluation(lake, stored.evaluation_id[:10])
    assert found.metrics == METRICS
    assert found.evaluation_id == stored.evaluation_id
    assert (found.model_id, found.dataset, found.split) == ("m", "pages", "val")
    assert (found.params_id, found.run_id, found.images) == ("p", "r", 2)
    with connect(lake) as session:
        rows = session.sql(
            "SELECT item.image_id, list_avg(item.measured) FROM (SELECT unnest(per_image) AS item"
            " FROM evaluations WHERE metric = 'miou@1.centre') ORDER BY 1"
        ).fetchall()
    assert rows == [("a", 0.75), ("b", 0.75)]


def test_the_same_measurement_is_stored_once(lake: Lake):
    first = store(lake, run_id="one")
    again = store(lake, run_id="two")
    assert (again.evaluation_id, again.run_id) == (first.evaluation_id, "one")
    others = [store(lake, split="test"), store(lake, "n"),
              store(lake, metrics={"labels": Metric(4.1)})]  # fmt: skip
    ids = {each.evaluation_id for each in (first, *others)}
    assert len(ids) == 4
    assert {each.evaluation_id for each in read_evaluations(lake)} == ids
    assert [each.model_id for each in read_evaluations(lake, "n")] == ["n"]
    for text in ("", "zz"):
        with pytest.raises(UnknownEvaluationError, match="found none"):
            load_evaluation(lake, text)


def test_numbers_that_are_none_are_refused(local_lake: Lake):
    for metric in (Metric(float("nan")), Metric(1.0, {"a": (float("inf"),)})):
        with pytest.raises(ValueError, match="'x' holds a number that is not finite"):
            store(local_lake, metrics={"x": metric})
    with pytest.raises(ValueError, match="at least one"):
        store(local_lake, metrics={})


def test_measurements_of_an_older_version_can_be_read(tmp_path: Path):
    lake = Lake.open(str(tmp_path))
    newer = {"params_id", "run_id", "per_image"}
    old = pa.schema([field for field in TABLES["evaluations"] if field.name not in newer])
    row = {"evaluation_id": "e", "model_id": "m", "dataset": "d", "split": "val", "metric": "x",
           "value": 1.0, "images": 3, "evaluated_at": datetime(2026, 1, 1, tzinfo=UTC)}  # fmt: skip
    write_deltalake(f"{lake.root}/evaluations", pa.Table.from_pylist([row], old))
    assert load_evaluation(lake, "e").metrics == {"x": Metric(1.0)}
    store(lake)
    assert len(read_evaluations(lake)) == 2


def test_a_decision_comes_back_whether_it_passed_or_not(lake: Lake):
    rule = RuleResult("x", "improve", False, 0.5, 0.6, -0.1, -0.2, 0.05, 20, "worse")
    made = GateDecision("", "refuse", "c", "l", "e1", "e2", (rule,), {"rules": [{"metric": "x"}]})
    stored = store_decision(lake, made, 3, "me@here", "run")
    assert store_decision(lake, made, 3, "you@there") == stored
    assert store_decision(lake, made, 4) != stored
    assert read_decisions(lake, "c")[0] == stored
    assert len(read_decisions(lake)) == 2
    assert read_decisions(lake, "other") == []
