import json

import pytest

from storage.lake import Lake
from storage.objects import open_store
from tasks.device_use import DeviceUse
from tasks.report.data import StageTime, Totals, report_json
from tasks.report.gather import as_bytes, gather_report, image_key


def test_figures_are_those_of_the_tables(filled):
    data = gather_report(filled.lake, filled.store, dataset="comics")
    assert data.totals == Totals(pages=2, masks=0, segments=4, labels=2, quarantined=1)
    assert [(row.label, row.count, row.images) for row in data.labels] == [
        ("bubble", 2, 1),
        ("speech / text", 1, 1),
        ("unknown", 1, 1),
    ]
    bubble = data.labels[0]
    assert bubble.mean_score == pytest.approx(0.8)
    assert bubble.total_area_px == 2 * bubble.mean_area_px
    assert data.quarantine[0].rule == "image.truncated"
    assert ("model", "demo-1") in data.facts


def test_every_dataset_is_shown_without_a_choice(filled):
    data = gather_report(filled.lake, filled.store)
    assert data.dataset == "comics, street"
    assert (data.totals.pages, data.totals.segments) == (3, 5)


def test_a_label_without_scores_has_none(filled):
    (row,) = gather_report(filled.lake, filled.store, dataset="street").labels
    assert row.mean_score is None


def test_pages_come_by_name_with_their_shapes(filled):
    first, second = gather_report(filled.lake, filled.store, dataset="comics").pages
    assert (first.name, second.name) == ("page_0.png", "page_1.png")
    assert (first.width_px, first.height_px) == (80, 60)
    areas = [shape.area_px for shape in first.shapes]
    assert len(areas) == 2 and areas == sorted(areas, reverse=True)
    assert all(shape.path.startswith("M") for shape in first.shapes)
    assert first.picture.startswith(b"RIFF") and first.media_type == "image/webp"
    assert all(shape.tag is None for shape in second.shapes if shape.label == "unknown")


def test_weak_segments_leave_the_pictures_but_not_the_statistics(filled):
    data = gather_report(filled.lake, filled.store, dataset="comics", min_score=0.75)
    assert data.totals.segments == 4
    assert len(data.pages[0].shapes) == 1


def test_only_one_model_is_shown_at_a_time(filled):
    newer = filled.lake.read("segments").slice(0, 1).to_pylist()
    for row in newer:
        row |= {"model_id": "demo-2", "created_at": row["created_at"].replace(year=2027)}
        row.pop("unit_id")
    filled.lake.append("segments", newer, "segment-2")
    filled.lake.commit_unit(
        stage="segment",
        unit_id="segment-2",
        subject="1 image",
        inputs=1,
        outputs=1,
        image_ids=[newer[0]["image_id"]],
        model_id="demo-2",
        params_id="params-1",
        label_set_id="comic-1",
    )
    assert gather_report(filled.lake, filled.store).totals.segments == 1
    older = gather_report(filled.lake, filled.store, model_id="demo-1")
    assert older.totals.segments == 5


def test_a_picture_that_is_gone_is_left_out(filled):
    image_id = filled.images[0]
    filled.store.delete(f"images/{image_id[:2]}/{image_id}.png")
    assert len(gather_report(filled.lake, filled.store, dataset="comics").pages) == 1


def test_more_pages_than_wanted_are_sampled(filled):
    data = gather_report(filled.lake, filled.store, max_pages=2)
    assert [page.name for page in data.pages] == ["page_0.png", "page_1.png"]
    assert gather_report(filled.lake, filled.store, max_pages=0).pages == ()


def test_an_empty_lake_gives_an_empty_report(tmp_path):
    root = str(tmp_path / "empty")
    data = gather_report(Lake.open(root), open_store(root))
    assert data.totals == Totals(0, 0, 0, 0, 0)
    assert data.labels == data.pages == data.quarantine == ()


def test_figures_can_be_written_as_json(filled):
    data = gather_report(
        filled.lake,
        filled.store,
        stages=[StageTime("ingest", 1.5)],
        device=DeviceUse({"cpu": 1.25}, cost=0.5),
    )
    figures = json.loads(json.dumps(report_json(data)))
    assert figures["totals"]["segments"] == 5
    assert figures["stages"] == [{"stage": "ingest", "seconds": 1.5, "detail": ""}]
    assert (figures["device"]["seconds"], figures["device"]["cost"]) == ({"cpu": 1.25}, 0.5)
    assert "pages" not in figures


def test_image_keys_do_not_depend_on_where_the_root_is():
    key = "images/ab/abc.png"
    for uri in (key, "s3://bucket/prefix/images/ab/abc.png", "/data/images/ab/abc.png"):
        assert image_key("abc", uri) == key
    assert as_bytes("0a") == as_bytes(b"0a") == b"0a"


def test_pictures_keep_to_the_largest_image_of_the_settings(filled, monkeypatch):
    monkeypatch.setenv("SEGMILL_MAX_IMAGE_PX", "100")
    assert gather_report(filled.lake, filled.store).pages == ()
    assert len(gather_report(filled.lake, filled.store, max_px=10**6).pages) == 3
