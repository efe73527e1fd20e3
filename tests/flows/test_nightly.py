import json
from datetime import UTC, datetime

import pytest

import flows.ingest
import tasks.ingest_drops
from flows.ingest import run_ingest
from flows.nightly import run_nightly
from flows.requests import IngestRequest
from flows.summaries import DropsFailedError
from storage.errors import ObjectUnreadableError, StoreRefusedError
from storage.lake import Lake
from storage.objects import LocalStore
from tasks.quarantine import QuarantineLimitError
from tests.drops import (
    BLUE,
    GRAY,
    GREEN,
    RED,
    box_picture,
    write_box_drop,
    write_document,
    write_picture,
)
from vision.masks import png_to_mask

PICTURES = [
    [((4, 4, 10, 8), RED), ((30, 20, 12, 10), BLUE)],
    [((2, 30, 20, 10), RED)],
    [((10, 10, 6, 6), GREEN), ((40, 8, 9, 9), GRAY)],
]


def night(mill, **changes):
    summary, data = run_nightly(mill.request.model_copy(update=changes), mill.settings, mill.run())
    return summary, data


def test_what_is_told_of_bad_drops_is_told_although_a_later_stage_fails(mill):
    write_box_drop(mill.inbox / "monday", PICTURES)
    broken = sorted((mill.inbox / "monday").rglob("*.png"))[0]
    broken.write_bytes(b"no picture")
    told = []

    def fails(*args, **values):
        raise RuntimeError("no device")

    with pytest.raises(RuntimeError, match="no device"):
        run_nightly(
            mill.request, mill.settings, mill.run(), segment_stage=fails, after_group=told.append
        )
    assert [drop.source for summary in told for drop in summary.bad_drops]
    # The next night knows the drop, and has nothing to tell of it.
    told.clear()
    run_nightly(mill.request, mill.settings, mill.run(), after_group=told.append)
    assert not told


def test_what_is_stored_is_told_although_a_later_drop_ends_the_run(mill, monkeypatch):
    """The next run would say that it was ingested before, and nothing else."""
    for name in ("monday", "tuesday"):
        write_box_drop(mill.inbox / name, PICTURES)
    take, said = tasks.ingest_drops._take, []

    def refuse_tuesday(intake, root, drop):
        if "tuesday" in drop.place.prefix:
            raise StoreRefusedError(root, "it is closed", "open it")
        return take(intake, root, drop)

    monkeypatch.setattr(tasks.ingest_drops, "_take", refuse_tuesday)
    monkeypatch.setattr(flows.ingest, "worker_settings", lambda: mill.settings)
    monkeypatch.setattr(flows.ingest, "OnPrefect", mill.run)
    monkeypatch.setattr(
        flows.ingest, "emit", lambda event, dataset, **facts: said.append((event, facts["count"]))
    )
    with pytest.raises(StoreRefusedError, match="it is closed"):
        flows.ingest.ingest.fn(IngestRequest(dataset=mill.request.dataset))
    assert said == [("images.ingested", 3)]
    assert mill.ask("SELECT count(*) FROM images") == [(3,)]


def test_what_was_read_is_stored_although_somebody_stops_the_run(mill, monkeypatch):
    for name in ("monday", "tuesday"):
        write_box_drop(mill.inbox / name, PICTURES)
    take = tasks.ingest_drops._take

    def stopped_at_tuesday(intake, root, drop):
        if "tuesday" in drop.place.prefix:
            raise KeyboardInterrupt
        return take(intake, root, drop)

    monkeypatch.setattr(tasks.ingest_drops, "_take", stopped_at_tuesday)
    with pytest.raises(KeyboardInterrupt):
        run_ingest(IngestRequest(dataset=mill.request.dataset), mill.settings, mill.run())
    assert mill.ask("SELECT count(*) FROM images") == [(3,)]


def test_a_night_cuts_names_and_counts_what_is_in_the_inbox(mill):
    write_box_drop(mill.inbox / "monday", PICTURES, split="train")
    summary, data = night(mill)
    assert summary.ingest.images == 3
    assert summary.segment.segments == 5
    assert mill.ask("SELECT label, count(*) FROM segments GROUP BY 1 ORDER BY 1") == [
        ("blue", 1),
        ("green", 1),
        ("red", 2),
        ("unknown", 1),
    ]
    red = mill.ask(
        "SELECT count, images, total_area_px, union_area_px, mean_area_px, unknown_share"
        " FROM label_stats WHERE label = 'red'"
    )
    assert red == [(2, 2, 280, 280, 140.0, 0.2)]
    assert summary.curation.new == 5
    assert summary.curation.ready
    assert set(summary.seconds) == {"ingest", "segment", "stats", "curate"}
    assert data.totals.segments == 5
    assert "red" in (mill.root / "reports").glob("*.html").__next__().read_text()


def test_a_second_night_does_no_work(mill):
    write_box_drop(mill.inbox / "monday", PICTURES)
    night(mill)
    before, calls = mill.tables(), mill.segmenter.calls
    summary, _ = night(mill)
    assert mill.tables() == before
    assert mill.segmenter.calls == calls
    assert summary.ingest.drops == []
    assert summary.segment.batches == 0
    assert summary.stats.already_counted


def test_the_next_drop_is_all_that_the_next_night_works_on(mill):
    write_box_drop(mill.inbox / "monday", PICTURES)
    night(mill)
    write_box_drop(mill.inbox / "tuesday", [[((8, 8, 30, 30), BLUE)]])
    calls = mill.segmenter.calls
    summary, _ = night(mill)
    assert mill.segmenter.calls == calls + 1
    assert summary.ingest.images == 1
    assert mill.ask("SELECT count(*) FROM segments") == [(6,)]


def test_the_same_content_in_another_drop_is_ingested_once(mill):
    write_box_drop(mill.inbox / "monday", PICTURES)
    night(mill)
    write_box_drop(mill.inbox / "tuesday", PICTURES)
    summary, _ = night(mill)
    assert [drop.already_ingested for drop in summary.ingest.drops] == [True]
    assert night(mill)[0].ingest.drops == []
    assert mill.ask("SELECT count(*) FROM images") == [(3,)]


def test_each_annotation_has_a_mask_file_with_its_pixels(mill):
    write_box_drop(mill.inbox / "monday", PICTURES)
    night(mill)
    rows = mill.ask("SELECT annotation_id, segmentation_file, area_px FROM annotations")
    assert len(rows) == 5
    for annotation_id, key, area_px in rows:
        assert key.startswith("masks/boxes/")
        assert key.endswith(f"_{int(annotation_id):012d}.png")
        assert png_to_mask((mill.root / key).read_bytes()).sum() == area_px


def test_a_drop_of_images_alone_is_a_drop(mill):
    write_box_drop(mill.inbox / "monday", PICTURES)
    (mill.inbox / "monday" / "annotations.json").unlink()
    summary, _ = night(mill)
    assert summary.ingest.images == 3
    assert summary.segment.segments == 5
    assert summary.ingest.drops[0].quarantined == 0


def test_an_image_without_a_segment_is_finished_too(mill):
    write_box_drop(mill.inbox / "monday", [[], [((4, 4, 10, 8), RED)]])
    assert night(mill)[0].segment.images == 2
    assert night(mill)[0].segment.batches == 0


def test_a_drop_that_still_grows_is_left_for_the_next_night(mill):
    write_box_drop(mill.inbox / "monday", PICTURES, done=False)
    assert night(mill)[0].ingest.drops == []
    mill.settings.drop_quiet_seconds = 0
    assert night(mill)[0].ingest.images == 3


def test_bad_input_is_set_aside_by_name_and_the_rest_goes_on(mill):
    folder = mill.inbox / "monday"
    document = write_box_drop(folder, PICTURES)
    whole = (folder / "images" / "p2.png").read_bytes()
    (folder / "images" / "p2.png").write_bytes(whole[:-40])
    (folder / "images" / "extra.jpg").write_bytes(b"")
    (folder / "images" / "page.png").write_bytes(b"<html>not found</html>")
    document["annotations"][0]["segmentation"] = [[1, 2, 3, 4, 5, 6, 7]]
    document["annotations"].append(document["annotations"][1] | {"id": 90, "image_id": 77})
    document["images"].append({"id": 9, "file_name": "lost.png", "width": 4, "height": 4})
    write_document(folder, document)
    summary, _ = night(mill)
    found = mill.ask("SELECT file, pointer, rule FROM quarantine ORDER BY ALL")
    assert found == [
        ("annotations.json", "/annotations/0/segmentation/0", "polygon.odd"),
        ("annotations.json", "/annotations/2", "annotation.image_quarantined"),
        ("annotations.json", "/annotations/5/image_id", "annotation.image_unknown"),
        ("annotations.json", "/images/3", "image.missing"),
        ("images/extra.jpg", "", "image.empty"),
        ("images/p2.png", "", "image.truncated"),
        ("images/page.png", "", "image.format"),
    ]
    assert mill.ask("SELECT count(*) FROM images") == [(2,)]
    assert mill.ask("SELECT count(*) FROM annotations") == [(3,)]
    assert summary.segment.images == 2
    with pytest.raises(QuarantineLimitError, match="67%"):
        summary.ingest.raise_for_bad_drops()


def test_an_image_entry_that_contradicts_its_file_takes_its_annotations_along(mill):
    folder = mill.inbox / "monday"
    document = write_box_drop(folder, PICTURES)
    document["images"][1]["width"] = 63
    write_document(folder, document)
    night(mill)
    rules = {rule for (rule,) in mill.ask("SELECT rule FROM quarantine")}
    assert rules == {"image.size_differs", "annotation.image_quarantined"}
    assert mill.ask("SELECT file_name FROM images ORDER BY 1") == [
        ("images/p1.png",),
        ("images/p3.png",),
    ]


def test_a_broken_document_refuses_the_drop_but_not_the_night(mill):
    write_box_drop(mill.inbox / "monday", PICTURES)
    bad = mill.inbox / "tuesday"
    write_box_drop(bad, [[((8, 8, 30, 30), BLUE)]])
    text = (bad / "annotations.json").read_text()
    (bad / "annotations.json").write_text(text[: len(text) // 2])
    summary, _ = night(mill)
    assert mill.ask("SELECT file, pointer, rule FROM quarantine") == [
        ("annotations.json", "", "json.truncated")
    ]
    assert summary.segment.segments == 5
    with pytest.raises(QuarantineLimitError, match="tuesday"):
        summary.ingest.raise_for_bad_drops()


def test_a_crash_before_the_unit_is_committed_shows_nothing_and_heals(mill, monkeypatch):
    write_box_drop(mill.inbox / "monday", PICTURES)
    original = Lake.commit_unit

    def crash(self, *, stage, **row):
        if stage == "segment":
            raise KeyboardInterrupt
        return original(self, stage=stage, **row)

    monkeypatch.setattr(Lake, "commit_unit", crash)
    with pytest.raises(KeyboardInterrupt):
        night(mill)
    assert mill.ask("SELECT count(*) FROM segments") == [(0,)]
    assert mill.ask("SELECT count(*) FROM stored.segments") != [(0,)]
    monkeypatch.setattr(Lake, "commit_unit", original)
    night(mill)
    assert mill.ask("SELECT count(*), count(DISTINCT segment_id) FROM segments") == [(5, 5)]


def test_other_models_segment_the_images_again_and_keep_the_old_segments(mill, tmp_path):
    write_box_drop(mill.inbox / "monday", PICTURES)
    night(mill)
    (tmp_path / "better.safetensors").write_bytes(b"better")
    night(mill, model=f"file:{tmp_path / 'better.safetensors'}")
    assert mill.ask("SELECT count(*), count(DISTINCT model_id) FROM segments") == [(10, 2)]


def test_drops_whose_documents_use_the_same_ids_do_not_share_mask_files(mill):
    write_box_drop(mill.inbox / "a", PICTURES)
    write_box_drop(mill.inbox / "b", [[((0, 0, 50, 40), GREEN)]])
    night(mill)
    rows = mill.ask("SELECT segmentation_file, area_px FROM annotations")
    assert len({key for key, _ in rows}) == len(rows) == 6
    for key, area_px in rows:
        assert png_to_mask((mill.root / key).read_bytes()).sum() == area_px


def test_near_duplicates_land_in_the_same_split(mill):
    pictures = [[((4, 4, 10, 8), RED), ((30, 20, 12 + n % 2, 10), BLUE)] for n in range(6)]
    write_box_drop(mill.inbox / "monday", pictures)
    night(mill)
    assert len(mill.ask("SELECT DISTINCT split FROM images")) == 1


def test_rows_say_who_made_them_and_when(mill):
    write_box_drop(mill.inbox / "monday", PICTURES)
    summary, _ = night(mill)
    rows = mill.ask("SELECT DISTINCT model_id, label_set_id, run_id, created_at FROM segments")
    (first, *_) = rows
    assert first[0] == summary.segment.model_id
    assert "namer-" in first[1]
    assert abs((datetime.now(UTC) - first[3]).total_seconds()) < 60
    json.dumps(summary.model_dump(mode="json"))


def test_of_a_changed_drop_the_newest_annotations_count(mill):
    monday = mill.inbox / "monday"
    write_box_drop(monday, PICTURES)
    night(mill)
    assert mill.ask("SELECT count(*) FROM annotations") == [(5,)]
    (monday / "readme.txt").write_text("one file more")
    night(mill)
    assert mill.ask("SELECT count(*) FROM annotations") == [(5,)]
    path = monday / "annotations.json"
    document = json.loads(path.read_text())
    document["annotations"] = document["annotations"][1:]
    document["annotations"][0]["category_id"] = document["categories"][-1]["id"]
    path.write_text(json.dumps(document))
    night(mill)
    assert mill.ask("SELECT count(*) FROM annotations") == [(4,)]
    assert mill.ask("SELECT count(*) FROM images") == [(3,)]


def test_one_folder_can_be_in_two_datasets(mill, tmp_path):
    folder = tmp_path / "photos"
    write_box_drop(folder, PICTURES)
    for dataset in ("mine", "other", "mine"):
        run_ingest(IngestRequest(dataset=dataset, source=str(folder)), mill.settings, mill.run())
    count = "SELECT dataset, count(*) FROM annotations GROUP BY 1 ORDER BY 1"
    assert mill.ask(count) == [("mine", 5), ("other", 5)]
    assert mill.ask("SELECT dataset FROM drops ORDER BY 1") == [("mine",), ("other",)]


def test_a_refused_drop_is_looked_at_again_under_other_limits(mill):
    write_box_drop(mill.inbox / "monday", PICTURES)
    request = IngestRequest(dataset="boxes", source=str(mill.inbox / "monday"))
    small = mill.settings.model_copy(update={"max_json_bytes": 10})
    refused = run_ingest(request, small, mill.run()).drops[0]
    assert refused.rejected
    assert not refused.already_ingested
    again = run_ingest(request, small, mill.run()).drops[0]
    assert again.rejected
    assert again.already_ingested
    assert mill.ask("SELECT rule FROM quarantine") == [("json.too_large",)]
    accepted = run_ingest(request, mill.settings, mill.run()).drops[0]
    assert (accepted.rejected, accepted.images, accepted.annotations) == (False, 3, 5)


def test_every_unit_says_for_which_dataset_it_was_done(mill):
    write_box_drop(mill.inbox / "monday", PICTURES)
    night(mill)
    write_document(mill.inbox / "tuesday", [])
    (mill.inbox / "tuesday" / "_DONE").touch()
    night(mill)
    stages = mill.ask("SELECT DISTINCT stage, dataset FROM units ORDER BY stage")
    assert stages == [(stage, "boxes") for stage in ("ingest", "reject", "segment", "stats")]


def test_a_sweep_finds_a_refused_drop_again_under_other_limits_only(mill):
    write_box_drop(mill.inbox / "monday", PICTURES)
    request = IngestRequest(dataset="boxes")
    small = mill.settings.model_copy(update={"max_json_bytes": 10})
    assert [drop.rejected for drop in run_ingest(request, small, mill.run()).drops] == [True]
    assert run_ingest(request, small, mill.run()).drops == []
    (taken,) = run_ingest(request, mill.settings, mill.run()).drops
    assert (taken.rejected, taken.images, taken.annotations) == (False, 3, 5)
    for settings in (small, mill.settings):
        assert run_ingest(request, settings, mill.run()).drops == []


def test_a_refused_change_leaves_what_was_good(mill):
    monday = mill.inbox / "monday"
    write_box_drop(monday, PICTURES)
    night(mill)
    (monday / "annotations.json").write_text("{")
    with pytest.raises(QuarantineLimitError):
        night(mill)[0].ingest.raise_for_bad_drops()
    assert mill.ask("SELECT count(*) FROM annotations") == [(5,)]


def test_a_drop_that_cannot_be_read_does_not_stop_the_others(mill, monkeypatch):
    write_box_drop(mill.inbox / "monday", PICTURES[:1])
    write_box_drop(mill.inbox / "tuesday", PICTURES[1:])

    def read(self, key, real=LocalStore.read):
        if "monday" in key:
            raise ObjectUnreadableError(key, "the inbox", "no right to read it")
        return real(self, key)

    monkeypatch.setattr(LocalStore, "read", read)
    summary, _ = night(mill)
    assert [drop.source.rstrip("/").split("/")[-1] for drop in summary.ingest.drops] == ["tuesday"]
    assert summary.segment.images == summary.ingest.images > 0
    with pytest.raises(DropsFailedError, match=r"monday.*no right to read it"):
        summary.ingest.raise_for_bad_drops()
    monkeypatch.undo()


def test_near_duplicates_of_earlier_drops_share_their_split(mill):
    boxes = [((4, 4, 10, 8), RED), ((30, 20, 12, 10), BLUE)]
    document = write_box_drop(mill.inbox / "monday", [boxes])
    document["images"][0]["split"] = "val"
    write_document(mill.inbox / "monday", document)
    run_ingest(IngestRequest(dataset="boxes"), mill.settings, mill.run())
    nearly = box_picture(boxes)
    for row in range(8):
        nearly[row, row] = 254  # eight other images that look the same
        write_picture(mill.inbox / "tuesday" / f"{row}.png", nearly)
    (mill.inbox / "tuesday" / "_DONE").touch()
    run_ingest(IngestRequest(dataset="boxes"), mill.settings, mill.run())
    assert mill.ask("SELECT split, count(*) FROM images GROUP BY 1") == [("val", 9)]


def test_a_single_file_is_a_drop_without_its_namesakes(mill, tmp_path):
    for name in ("a.png", "a.png.png"):
        write_picture(tmp_path / name, box_picture([((4, 4, 10, 8), RED)], width=40 + len(name)))
    request = IngestRequest(dataset="boxes", source=str(tmp_path / "a.png"))
    assert run_ingest(request, mill.settings, mill.run()).images == 1
    assert mill.ask("SELECT file_name FROM images") == [("a.png",)]
