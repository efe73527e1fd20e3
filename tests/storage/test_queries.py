import re
from collections.abc import Callable
from typing import Any

import pytest

from storage.errors import UnknownQueryError
from storage.lake import Lake
from storage.queries import named_query, query_names
from storage.schemas import TABLES
from storage.session import read_only_query
from tests.lakes import cut

Row = Callable[..., dict[str, Any]]
ALL = {"dataset": None, "model_id": None, "params_id": None, "label_set_id": None}
EXPORTED = {
    "split": None,
    "labels": [],
    "min_score": 0.0,
    "empty_images": True,
    "most": 9,
    "by": "night",
    "since": None,
    "until": 9,
    "reviewer": "rules:1",
    "thresholds": "[]",
    "max_per_image": None,
    "annotated_images": False,
    "reviews_version": 9,
    "annotations_until": None,
    "label": None,
    "audit": False,
    "seed": 1,
    "pool": 9,
    "device": None,
    "run_id": "run",
}
SETTINGS = {"model_id": "model", "params_id": "params", "label_set_id": "labels"}


def _ingest(lake: Lake, unit: str, rows: list[dict[str, Any]]) -> None:
    lake.append("images", rows, unit)
    lake.commit_unit(stage="ingest", unit_id=unit, subject="drop", inputs=1, outputs=len(rows))


def _segment(lake: Lake, unit: str, images: list[str], rows: list[dict[str, Any]]) -> None:
    lake.append("segments", rows, unit)
    settings = {name: rows[0][name] for name in SETTINGS} if rows else SETTINGS
    lake.commit_unit(
        stage="segment",
        unit_id=unit,
        subject="batch",
        inputs=len(images),
        outputs=len(rows),
        image_ids=images,
        **settings,
    )


def _pending(lake: Lake, **changes: Any) -> list[str]:
    parameters = SETTINGS | {"dataset": None} | changes
    found = read_only_query(lake, named_query("pending_images"), parameters)
    return list(found["image_id"].to_pylist())


def _stats(lake: Lake, **parameters: Any) -> list[dict[str, Any]]:
    found = read_only_query(lake, named_query("label_stats"), ALL | parameters)
    return list(found.to_pylist())


def test_label_stats_are_right_for_a_lake_counted_by_hand(lake: Lake, segment: Row, image: Row):
    _ingest(lake, "drop-1", [image("a"), image("b")])
    _ingest(lake, "drop-2", [image("a", drop_id="again")])  # the same bytes once more
    rows = [
        segment(image_id="a", label="text", area_px=10, score=0.5),
        segment(image_id="a", label="text", area_px=20, score=None),
        segment(image_id="b", label="text", area_px=60, score=1.0),
        segment(image_id="b", label="unknown", area_px=7, score=0.25),
    ]
    _segment(lake, "batch", ["a", "b"], rows)
    lake.append("segments", [segment(image_id="a", label="text", area_px=10**6)], "unfinished")
    same = {"dataset": "comics", "unknown_share": 0.25} | SETTINGS
    assert _stats(lake) == [
        same
        | {
            "label": "text",
            "count": 3,
            "images": 2,
            "total_area_px": 90,
            "mean_area_px": 30.0,
            "median_area_px": 20.0,
            "min_area_px": 10,
            "max_area_px": 60,
            "mean_score": 0.75,
        },
        same
        | {
            "label": "unknown",
            "count": 1,
            "images": 1,
            "total_area_px": 7,
            "mean_area_px": 7.0,
            "median_area_px": 7.0,
            "min_area_px": 7,
            "max_area_px": 7,
            "mean_score": 0.25,
        },
    ]


def test_label_stats_fit_their_table(local_lake: Lake, segment: Row, image: Row):
    _ingest(local_lake, "drop", [image("a")])
    _segment(local_lake, "batch", ["a"], [segment(image_id="a")])
    rows = [row | {"computed_from": 1} for row in _stats(local_lake)]
    assert local_lake.append("label_stats", rows, "stats")
    missing = set(TABLES["label_stats"].names) - set(rows[0])
    assert missing == {"unit_id", "union_area_px"}


def test_label_stats_keep_datasets_models_and_settings_apart(
    local_lake: Lake, segment: Row, image: Row
):
    _ingest(local_lake, "drop-1", [image("a"), image("a", dataset="photos")])
    _segment(local_lake, "batch-1", ["a"], [segment(image_id="a", label="unknown")])
    for number, setting in enumerate(SETTINGS):
        row = segment(image_id="a", **{setting: "other"})
        _segment(local_lake, f"other-{number}", ["a"], [row])
    found = _stats(local_lake)
    assert [row["count"] for row in found] == [1] * 8
    assert [row["unknown_share"] for row in found if row["label"] == "unknown"] == [1.0, 1.0]
    assert [row["unknown_share"] for row in found if row["label"] == "panel"] == [0.0] * 6
    assert len(_stats(local_lake, dataset="photos")) == 4
    for setting in SETTINGS:
        assert [row[setting] for row in _stats(local_lake, **{setting: "other"})] == ["other"] * 2


def test_images_are_pending_until_a_unit_with_the_same_settings_finished(
    lake: Lake, segment: Row, image: Row
):
    _ingest(lake, "drop-1", [image("a"), image("b"), image("c", dataset="photos")])
    _ingest(lake, "drop-2", [image("a", drop_id="again")])
    lake.append("images", [image("unfinished")], "drop-3")
    assert _pending(lake) == ["a", "b", "c"]
    lake.append("segments", [segment(image_id="a")], "batch")
    assert _pending(lake) == ["a", "b", "c"], "rows without their unit finish nothing"
    _segment(lake, "batch", ["a", "b"], [segment(image_id="a")])
    assert _pending(lake) == ["c"], "an image without a segment is finished as well"
    assert _pending(lake, dataset="comics") == []
    for setting in SETTINGS:
        assert _pending(lake, **{setting: "other"}) == ["a", "b", "c"]


def test_only_the_newest_statistics_of_each_model_are_the_latest(
    local_lake: Lake, segment: Row, image: Row
):
    _ingest(local_lake, "drop", [image("a")])
    _segment(local_lake, "batch-1", ["a"], [segment(image_id="a", label="text")])
    _segment(local_lake, "batch-2", ["a"], [segment(image_id="a", model_id="new")])
    rows = _stats(local_lake)
    for version, unit in ((1, "old"), (2, "newer")):
        values = [
            row | {"computed_from": version}
            for row in rows
            if unit == "old" or row["model_id"] == "new"
        ]
        local_lake.append("label_stats", values, unit)
        local_lake.commit_unit(stage="stats", unit_id=unit, subject="all", inputs=1, outputs=1)
    found = read_only_query(local_lake, named_query("latest_label_stats")).to_pylist()
    assert [(row["model_id"], row["computed_from"]) for row in found] == [("model", 1), ("new", 2)]


def test_of_two_statistics_of_one_version_the_later_unit_counts(
    local_lake: Lake, segment: Row, image: Row
):
    _ingest(local_lake, "drop", [image("a"), image("b")])
    _segment(local_lake, "batch", ["a", "b"], [segment(image_id="a"), segment(image_id="b")])
    (row,) = _stats(local_lake)
    for unit, count in (("a-later-name", 1), ("a-first-name", 2)):
        values = row | {"computed_from": 1, "count": count}
        local_lake.append("label_stats", [values, values | {"label": "text"}], unit)
        local_lake.commit_unit(stage="stats", unit_id=unit, subject="all", inputs=1, outputs=1)
    found = read_only_query(local_lake, named_query("latest_label_stats")).to_pylist()
    assert [(row["label"], row["count"]) for row in found] == [("panel", 2), ("text", 2)]


def test_counts_tell_the_rows_of_finished_units(local_lake: Lake, segment: Row, image: Row):
    _ingest(local_lake, "drop", [image("a"), image("b")])
    local_lake.append("segments", [segment(image_id="a")], "unfinished")
    found = read_only_query(local_lake, named_query("counts")).to_pylist()
    counts = {row["table_name"]: row["rows"] for row in found}
    assert counts == {
        "annotations": 0,
        "drops": 0,
        "images": 2,
        "label_stats": 0,
        "quarantine": 0,
        "segments": 0,
        "units": 1,
    }


def test_the_speed_of_a_device_is_that_of_its_latest_units(local_lake: Lake):
    def speed(**changes: Any) -> list[tuple[Any, ...]]:
        parameters = {"model_id": "model", "params_id": "params", "device": None, "most": 2}
        found = read_only_query(local_lake, named_query("device_speed"), parameters | changes)
        return [tuple(row.values()) for row in found.to_pylist()]

    images = [str(number) for number in range(9)]
    cut(local_lake, "before seconds were measured", images[:1], [])
    assert speed() == []
    cut(local_lake, "slow once", images[1:2], [], device_seconds=100.0, device="cpu")
    cut(local_lake, "two", images[2:4], [], device_seconds=4.0, device="cpu")
    cut(local_lake, "four", images[4:8], [], device_seconds=2.0, device="cpu")
    assert speed() == [("cpu", 1.0, 2, 6)]
    cut(local_lake, "none could be read", images[8:], [], device_seconds=0.0, device="cpu")
    assert speed() == [("cpu", 1.0, 2, 6)]
    assert speed(most=9) == [("cpu", 106 / 7, 3, 7)]
    cut(local_lake, "on a GPU", ["x"], [], device_seconds=0.25, device="NVIDIA H100")
    assert speed() == [("NVIDIA H100", 0.25, 1, 1)], "whatever the newest was done on"
    assert speed(device="cpu") == [("cpu", 1.0, 2, 6)]
    assert speed(device="mps") == []
    other = {"device_seconds": 9.0, "device": "cpu"}
    cut(local_lake, "other model", ["x"], [], model_id="other", **other)
    cut(local_lake, "other parameters", ["x"], [], params_id="other", **other)
    cut(local_lake, "other labels", ["x"], [], label_set_id="other", **other)
    assert speed(device="cpu") == [("cpu", 11 / 5, 2, 5)], "labels make no difference"
    assert speed(model_id="other") == speed(params_id="other") == [("cpu", 9.0, 1, 1)]


@pytest.mark.parametrize("name", query_names())
def test_every_query_runs_on_an_empty_lake_and_says_what_it_answers(local_lake: Lake, name: str):
    sql = named_query(name)
    assert sql.startswith("-- ")
    known = ALL | SETTINGS | EXPORTED
    parameters = {key: value for key, value in known.items() if re.search(rf"\${key}\b", sql)}
    assert read_only_query(local_lake, sql, parameters or None).num_rows in (0, 7)


@pytest.mark.parametrize("name", ["absent", "../session", "label_stats.sql", ""])
def test_an_unknown_query_is_named_with_the_known_ones(name: str):
    with pytest.raises(UnknownQueryError, match="expected one of counts, curated"):
        named_query(name)
