"""Every recipe against a lake counted by hand."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from storage.errors import QueryParametersError, UnknownQueryError
from storage.queries import query_names
from storage.queries.recipes import load_recipe, recipe_names
from storage.session import read_only_query
from tests.lakes import NIGHT, cut, image_row, ingest, refused_row, review_row, segment_row
from vision.masks import mask_to_rle


def answer(lake, name, **given):
    recipe = load_recipe(name)
    return read_only_query(lake, recipe.sql, recipe.values(given)).to_pylist()


def columns(rows, *names):
    return [tuple(row[name] for name in names) for row in rows]


def rectangle(left, top, width, height, image=(40, 30)):
    """Mask, area and box of a rectangle, as a segment has them."""
    mask = np.zeros((image[1], image[0]), bool)
    mask[top : top + height, left : left + width] = True
    return {
        "rle": mask_to_rle(mask).decode(),
        "area_px": width * height,
        "bbox_xywh": [float(left), float(top), float(width), float(height)],
    }


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_says_what_it_answers_and_runs_on_an_empty_lake(local_lake, name):
    recipe = load_recipe(name)
    assert recipe.meaning.endswith(".")
    assert recipe.parameters
    for parameter in recipe.parameters:
        assert f"${parameter.name}" in recipe.sql.split("\n", 1 + len(recipe.parameters))[-1]
    assert answer(local_lake, name) == []


def test_recipes_are_no_queries_of_the_engine():
    assert not set(recipe_names()) & set(query_names())
    with pytest.raises(UnknownQueryError, match="'counts'; expected one of cost_per_night"):
        load_recipe("counts")


def test_a_parameter_that_a_recipe_has_not_is_refused(local_lake):
    with pytest.raises(QueryParametersError, match=r"\$limits is not used.*\$limit"):
        answer(local_lake, "largest_segments", limits=3)


def test_the_largest_segments_come_first(local_lake):
    ingest(local_lake, "drop-1", [image_row("a"), image_row("b", dataset="photos")])
    ingest(local_lake, "drop-2", [image_row("a", drop_id="again", file_name="z.png")])
    rows = [
        segment_row("a", "text", area_px=300),
        segment_row("a", "panel", area_px=600),
        segment_row("b", "panel", area_px=1200),
    ]
    cut(local_lake, "batch", ["a", "b"], rows)
    found = answer(local_lake, "largest_segments")
    assert columns(found, "file_name", "label", "area_px", "share_of_image") == [
        ("b.png", "panel", 1200, 1.0),
        ("a.png", "panel", 600, 0.5),
        ("a.png", "text", 300, 0.25),
    ]
    assert len(answer(local_lake, "largest_segments", limit=1)) == 1
    assert columns(answer(local_lake, "largest_segments", label="text"), "area_px") == [(300,)]
    assert len(answer(local_lake, "largest_segments", dataset="comics")) == 2
    assert answer(local_lake, "largest_segments", model_id="other") == []


def test_the_lowest_margins_that_nobody_reviewed_come_first(local_lake):
    ingest(local_lake, "drop", [image_row("a")])
    rows = [
        segment_row("a", segment_id="sure", margin=0.9),
        segment_row("a", segment_id="close", margin=0.1),
        segment_row("a", segment_id="closer", margin=0.01),
        segment_row("a", segment_id="reviewed", margin=0.001),
        segment_row("a", "unknown", segment_id="unknown", margin=0.02),
        segment_row("a", segment_id="none", margin=None),
    ]
    cut(local_lake, "batch", ["a"], rows)
    reviews = [review_row("reviewed"), review_row("close", "reopen")]
    local_lake.append("reviews", reviews, "review")
    found = answer(local_lake, "lowest_margin")
    assert columns(found, "segment_id", "margin", "second_label") == [
        ("closer", 0.01, "text"),
        ("close", 0.1, "text"),
        ("sure", 0.9, "text"),
    ]
    found = answer(local_lake, "lowest_margin", unknown=True, limit=2)
    assert columns(found, "segment_id") == [("closer",), ("unknown",)]


def test_two_models_are_compared_where_their_boxes_meet(local_lake):
    ingest(local_lake, "drop", [image_row("a"), image_row("b")])
    old = [
        segment_row("a", "panel", bbox_xywh=[0.0, 0.0, 10.0, 10.0]),
        segment_row("a", "text", bbox_xywh=[20.0, 0.0, 10.0, 10.0]),
        segment_row("b", "panel", bbox_xywh=[0.0, 0.0, 10.0, 10.0]),
    ]
    later = {"created_at": NIGHT + timedelta(days=1)}
    new = [
        segment_row("a", "panel", bbox_xywh=[0.0, 0.0, 10.0, 10.0], **later),  # IoU 1
        segment_row("a", "bubble", bbox_xywh=[20.0, 0.0, 10.0, 5.0], **later),  # IoU 0.5
        segment_row("b", "panel", bbox_xywh=[0.0, 0.0, 10.0, 4.0], **later),  # IoU 0.4
        segment_row("b", "text", bbox_xywh=[30.0, 20.0, 10.0, 10.0], **later),  # apart
    ]
    cut(local_lake, "old", ["a", "b"], old, model_id="old")
    cut(local_lake, "new", ["a", "b"], new, model_id="new")
    names = ("label_a", "label_b", "pairs", "images", "mean_iou")
    found = answer(local_lake, "label_confusion")
    assert columns(found, *names) == [("panel", "panel", 1, 1, 1.0), ("text", "bubble", 1, 1, 0.5)]
    assert columns(found, "model_a", "model_b") == [("old", "new")] * 2
    found = answer(local_lake, "label_confusion", min_iou=0.4)
    assert columns(found, *names)[0] == ("panel", "panel", 2, 2, 0.7)
    found = answer(local_lake, "label_confusion", model_a="new", model_b="old")
    assert columns(found, *names)[0] == ("bubble", "text", 1, 1, 0.5)
    assert answer(local_lake, "label_confusion", dataset="photos") == []


def test_of_a_model_that_cut_twice_the_last_cut_is_compared(local_lake):
    ingest(local_lake, "drop", [image_row("a")])
    cut(local_lake, "a", ["a"], [segment_row("a", "panel")], model_id="a")
    cut(local_lake, "b1", ["a"], [segment_row("a", "text")], model_id="b", params_id="1")
    later = NIGHT + timedelta(days=1)
    rows = [segment_row("a", "bubble", created_at=later)]
    cut(local_lake, "b2", ["a"], rows, model_id="b", params_id="2")
    found = answer(local_lake, "label_confusion")
    assert columns(found, "label_a", "label_b", "pairs") == [("panel", "bubble", 1)]


def test_coverage_counts_a_pixel_once_and_images_without_segments(local_lake):
    ingest(local_lake, "drop", [image_row(name) for name in "abc"])
    rows = [
        segment_row("a", **rectangle(0, 0, 20, 30)),  # the left half
        segment_row("a", "text", **rectangle(5, 5, 10, 10)),  # inside it
        segment_row("a", "text", **rectangle(10, 0, 20, 30)),  # half of it beyond
        segment_row("b", **rectangle(0, 0, 40, 30)),
    ]
    cut(local_lake, "batch", ["a", "b", "c"], rows)
    found = answer(local_lake, "coverage_per_image")
    assert columns(
        found, "file_name", "share_covered", "union_area_px", "sum_of_areas_px", "segments"
    ) == [
        ("c.png", 0.0, 0, 0, 0),
        ("a.png", 0.75, 900, 1300, 3),
        ("b.png", 1.0, 1200, 1200, 1),
    ]
    cut(local_lake, "other", ["c"], [], model_id="other")
    assert len(answer(local_lake, "coverage_per_image")) == 4
    assert len(answer(local_lake, "coverage_per_image", model_id="other")) == 1


def test_coverage_reads_every_mask_as_the_codec_does(local_lake):
    from vision.masks import rle_area, rle_union

    draw = np.random.default_rng(3)
    ingest(local_lake, "drop", [image_row("a", width_px=170, height_px=190)])
    masks = [draw.random((190, 170)) < share for share in (0.0, 1.0e-3, 0.01, 0.5)]
    masks.append(np.zeros((190, 170), bool))
    masks[-1][10:180, 3:160] = True
    rles = [mask_to_rle(mask) for mask in masks]
    for number in range(len(rles)):
        cut(
            local_lake, f"batch-{number}", ["a"],
            [segment_row("a", rle=rle.decode()) for rle in rles[: number + 1]],
            model_id=str(number),
        )  # fmt: skip
    found = {row["model_id"]: row for row in answer(local_lake, "coverage_per_image")}
    for number in range(len(rles)):
        union_px = rle_area(rle_union(rles[: number + 1], 190, 170))
        assert found[str(number)]["union_area_px"] == union_px


def test_nearly_equal_boxes_of_one_cut_are_duplicates(local_lake):
    ingest(local_lake, "drop", [image_row("a"), image_row("b")])
    rows = [
        segment_row("a", segment_id="1", bbox_xywh=[0.0, 0.0, 10.0, 10.0]),
        segment_row("a", "text", segment_id="2", bbox_xywh=[0.0, 0.0, 10.0, 9.5]),  # IoU 0.95
        segment_row("a", segment_id="3", bbox_xywh=[0.0, 0.0, 10.0, 8.0]),
        segment_row("b", segment_id="4", bbox_xywh=[0.0, 0.0, 10.0, 10.0]),
    ]
    cut(local_lake, "batch", ["a", "b"], rows)
    cut(local_lake, "other", ["a"], [segment_row("a", segment_id="5")], model_id="other")
    names = ("segment_a", "segment_b", "label_a", "label_b", "box_iou")
    found = answer(local_lake, "duplicate_segments")
    assert columns(found, *names) == [("1", "2", "panel", "text", 0.95)]
    found = answer(local_lake, "duplicate_segments", min_iou=0.8)
    assert columns(found, "segment_a", "segment_b") == [("1", "2"), ("2", "3"), ("1", "3")]
    assert len(answer(local_lake, "duplicate_segments", min_iou=0.8, limit=1)) == 1


def test_a_row_that_is_stored_twice_is_a_duplicate(local_lake):
    ingest(local_lake, "drop", [image_row("a")])
    cut(local_lake, "batch", ["a"], [segment_row("a", segment_id="1")] * 2)
    found = answer(local_lake, "duplicate_segments")
    assert columns(found, "segment_a", "segment_b", "box_iou") == [("1", "1", 1.0)]


def test_the_quarantine_is_counted_by_rule(local_lake):
    later = NIGHT + timedelta(days=1)
    refused = [
        refused_row("polygon.odd"),
        refused_row("polygon.odd", pointer="/annotations/0", value="[2]"),
        refused_row("polygon.odd", file="more.json", at=later),
        refused_row("image.truncated", file="a.jpg", pointer="", dataset="photos"),
    ]
    ingest(local_lake, "drop", [image_row("a")], refused)
    found = answer(local_lake, "quarantine_by_rule")
    names = ("rule", "refused", "drops", "files", "last_at", "example_pointer", "example_value")
    assert columns(found, *names) == [
        ("polygon.odd", 3, 1, 2, later, "/annotations/0", "[2]"),
        ("image.truncated", 1, 1, 1, NIGHT, "", "[1]"),
    ]
    found = answer(local_lake, "quarantine_by_rule", since="2026-05-05")
    assert columns(found, "rule", "refused") == [("polygon.odd", 1)]
    assert len(answer(local_lake, "quarantine_by_rule", dataset="photos")) == 1


def test_the_unknown_share_is_told_by_night_and_model(local_lake):
    ingest(local_lake, "drop", [image_row(name) for name in "abc"])
    first = [segment_row("a"), segment_row("a"), segment_row("a"), segment_row("a", "unknown")]
    later = {"created_at": NIGHT.replace(hour=23) + timedelta(days=1)}
    second = [segment_row("b", "unknown", **later), segment_row("b", score=None, **later)]
    cut(local_lake, "night-1", ["a"], first)
    cut(local_lake, "night-2", ["b"], second)
    cut(local_lake, "other", ["b"], [segment_row("b", **later)], model_id="other")
    found = answer(local_lake, "unknown_share_by_night")
    names = ("night", "model_id", "images", "segments", "unknown", "unknown_share", "change")
    day, next_day = NIGHT.date(), NIGHT.date() + timedelta(days=1)
    assert columns(found, *names) == [
        (day, "model", 1, 4, 1, 0.25, None),
        (next_day, "model", 1, 2, 1, 0.5, 0.25),
        (next_day, "other", 1, 1, 0, 0.0, None),
    ]
    assert len(answer(local_lake, "unknown_share_by_night", model_id="model")) == 2


def test_labels_that_a_night_or_a_model_finds_more_or_less_of_are_named(local_lake):
    ingest(local_lake, "drop", [image_row("a"), image_row("b"), image_row("c")])
    later = NIGHT + timedelta(days=1)
    for image, labels, values in (
        ("a", ["panel", "panel", "text", "text"], {}),
        ("b", ["panel", "panel", "panel", "text"], {"created_at": later}),
        ("c", ["bubble"] * 3 + ["panel"], {"created_at": later + timedelta(hours=1),
                                          "model_id": "newer"}),
    ):  # fmt: skip
        rows = [segment_row(image, label, **values) for label in labels]
        models = {"model_id": values.get("model_id", "model")}
        cut(local_lake, f"cut {image}", [image], rows, **models)
    found = answer(local_lake, "label_drift")
    assert columns(found, "label", "change", "share", "segments", "model_before", "model") == [
        ("bubble", 0.75, 0.75, 3, "model", "newer"),
        ("panel", -0.5, 0.25, 1, "model", "newer"),
        ("panel", 0.25, 0.75, 3, "model", "model"),
        ("text", -0.25, 0.0, 0, "model", "newer"),
        ("text", -0.25, 0.25, 1, "model", "model"),
        ("bubble", 0.0, 0.0, 0, "model", "model"),
    ]
    assert [row["night"] - row["night_before"] for row in found[:3]] == [
        timedelta(0), timedelta(0), timedelta(days=1)
    ]  # fmt: skip
    assert len(answer(local_lake, "label_drift", min_change=0.5)) == 2
    assert len(answer(local_lake, "label_drift", limit=1)) == 1
    assert answer(local_lake, "label_drift", dataset="photos") == []


def test_a_night_is_told_with_its_seconds_and_what_they_cost(local_lake):
    ingest(local_lake, "drop", [image_row(name) for name in "abcd"])
    ingest(local_lake, "other drop", [image_row("e", dataset="photos")])
    rows = [segment_row("c"), segment_row("d")]
    on_cpu, on_gpu = {"device": "cpu"}, {"device": "NVIDIA H100"}
    cut(local_lake, "old", ["a"], [])
    cut(local_lake, "1", ["b"], [], run_id="1", device_seconds=900.0, **on_cpu)
    cut(local_lake, "2", ["c", "d"], rows, run_id="1", device_seconds=1800.0, **on_cpu)
    cut(local_lake, "3", ["e"], [], run_id="2", device_seconds=18.0, **on_gpu)
    cut(local_lake, "4", ["e"], [], run_id="3", device_seconds=36.0, model_id="z", **on_gpu)
    found = answer(local_lake, "cost_per_night", cost_per_hour=2)
    names = ("model_id", "device", "images", "segments", "device_seconds", "cost", "runs")
    assert columns(found, *names) == [
        ("model", "NVIDIA H100", 1, 0, 18.0, 0.01, 1),
        ("model", "cpu", 3, 2, 2700.0, 1.5, 1),
        ("model", None, 1, 0, None, None, 0),
        ("z", "NVIDIA H100", 1, 0, 36.0, 0.02, 1),
    ]
    today = found[0]["night"]
    assert abs(today - datetime.now(UTC).date()) <= timedelta(days=1)
    assert {row["night"] for row in found} == {today}
    names = ("seconds_per_image", "cost_per_image")
    assert columns(found, *names)[1] == (900.0, 0.5)
    assert {row["cost"] for row in answer(local_lake, "cost_per_night")} == {None}
    assert len(answer(local_lake, "cost_per_night", dataset="comics")) == 2
    assert len(answer(local_lake, "cost_per_night", model_id="z")) == 1
    assert answer(local_lake, "cost_per_night", since="2100-01-01") == []
