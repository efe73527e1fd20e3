"""Drops that are found, sealed and taken in together are still each a unit of work of its own."""

import json
import shutil
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest

from flows.ingest import run_ingest
from flows.requests import IngestRequest
from flows.running import InProcess
from storage.lake import Lake
from storage.objects import LocalStore
from tasks import drops as drops_module
from tasks import ingest_drops as ingest_module
from tasks.drop_units import Limits
from tasks.drops import find_drops
from tasks.ingest_drops import group_drops, ingest_drops
from tasks.seal_drops import DropFile, SealedDrop, seal_drops
from tests.drops import BLUE, GREEN, RED, box_picture, write_box_drop, write_document, write_picture

COLORS = (RED, GREEN, BLUE)


def write_drops(mill, count):
    for number in range(count):
        boxes = [[((4 + number, 4 + n, 10, 8), COLORS[n])] for n in range(2)]
        write_box_drop(mill.inbox / f"drop-{number:02}", boxes)


def ingest(mill):
    return run_ingest(IngestRequest(dataset="boxes"), mill.settings, InProcess())


def find(mill):
    return find_drops.fn(mill.settings.root, "boxes", 60, Limits.of(mill.settings))


def find_and_seal(mill):
    found = find(mill)
    return seal_drops.fn(mill.settings.root, found)


def ingest_sealed(mill, drops):
    (group,) = group_drops(drops)
    return ingest_drops.fn(mill.settings.root, group, run_id="run", limits=Limits.of(mill.settings))


def test_all_are_sealed_in_one_commit_and_taken_in_together(mill):
    write_drops(mill, 12)
    summary = ingest(mill)
    assert (len(summary.drops), summary.images) == (12, 24)
    # Version 0 is the empty table.
    versions = {name: mill.lake.version(name) for name in ("drops", "images", "units")}
    assert versions == {"drops": 1, "images": 1, "units": 1}
    units = mill.ask("SELECT unit_id, outputs FROM units WHERE stage = 'ingest'")
    assert len(units) == 12
    assert {outputs for _, outputs in units} == {4}
    of_images = Counter(unit for (unit,) in mill.ask("SELECT unit_id FROM images"))
    assert of_images == {unit: 2 for unit, _ in units}
    before = mill.tables()
    assert ingest(mill).drops == []
    assert mill.tables() == before


def test_the_inbox_is_listed_once_for_all_drops_that_wait(mill, monkeypatch):
    write_drops(mill, 12)
    monkeypatch.setattr(drops_module, "_SETTLED", drops_module.timedelta())
    listed = []

    def listing(self, prefix="", *more, real=LocalStore.list):
        listed.append(prefix)
        return real(self, prefix, *more)

    monkeypatch.setattr(LocalStore, "list", listing)
    found = find(mill)
    seal_drops.fn(mill.settings.root, found)
    assert len(found) == 12
    assert [prefix for prefix in listed if prefix.startswith("inbox/")] == ["inbox/"]


def without_a_late_file(monkeypatch, late):
    """The first listing passed the place of a file before it was written, but saw the marker."""
    passed = []

    def listing(self, prefix="", *more, real=LocalStore.list):
        first, seen = prefix == "inbox/" and not passed, list(real(self, prefix, *more))
        if first:
            passed.append(True)
        return iter([info for info in seen if not (first and info.key.endswith(late))])

    monkeypatch.setattr(LocalStore, "list", listing)


def test_a_file_that_came_while_the_inbox_was_listed_is_not_missed(mill, monkeypatch):
    write_drops(mill, 2)
    without_a_late_file(monkeypatch, "drop-01/images/p2.png")
    found = find(mill)
    assert [len(drop.files) for drop in found] == [3, 3]


def test_it_would_be_missed_without_listing_young_drops_again(mill, monkeypatch):
    write_drops(mill, 2)
    monkeypatch.setattr(drops_module, "_SETTLED", drops_module.timedelta())
    without_a_late_file(monkeypatch, "drop-01/images/p2.png")
    found = find(mill)
    assert [len(drop.files) for drop in found] == [3, 2]


def test_the_same_content_twice_among_them_is_one_drop(mill):
    for name in ("monday", "tuesday"):
        write_box_drop(mill.inbox / name, [[((4, 4, 10, 8), RED)]])
    summary = ingest(mill)
    assert [drop.already_ingested for drop in summary.drops] == [False, True]
    assert mill.ask("SELECT count(*) FROM images") == [(1,)]
    assert ingest(mill).drops == []


def test_what_one_brings_is_known_to_the_next(mill):
    boxes = [((4, 4, 10, 8), RED), ((30, 20, 12, 10), BLUE)]
    document = write_box_drop(mill.inbox / "a", [boxes])
    document["images"][0]["split"] = "val"
    write_document(mill.inbox / "a", document)
    renamed = write_box_drop(mill.inbox / "b", [boxes])
    nearly = box_picture(boxes)
    nearly[0, 0] = 254
    write_picture(mill.inbox / "b/images/p1.png", nearly)
    renamed["categories"][0]["name"] = "crate"
    write_document(mill.inbox / "b", renamed)
    first, second = ingest(mill).drops
    assert (first.notes, len(second.notes)) == ((), 1)
    assert "category.new" in second.notes[0]
    assert mill.ask("SELECT DISTINCT split FROM images") == [("val",)]


def test_a_drop_that_changed_after_it_was_sealed_is_sealed_again(mill):
    write_drops(mill, 3)
    sealed = find_and_seal(mill)
    write_picture(mill.inbox / "drop-01/images/p1.png", box_picture([((9, 9, 30, 20), BLUE)]))
    (mill.inbox / "drop-02/images/p2.png").unlink()
    result = ingest_sealed(mill, sealed.drops)
    assert result.failed == []
    assert [drop.images for drop in result.drops] == [2, 2, 1]
    assert mill.ask("SELECT count(*) FROM drops") == [(5,)]
    assert ingest(mill).drops == []
    (row,) = mill.ask(
        "SELECT bytes FROM drops WHERE prefix = 'inbox/drop-01/' ORDER BY sealed_at DESC LIMIT 1"
    )
    files = [path for path in (mill.inbox / "drop-01").rglob("*.*") if path.is_file()]
    assert row == (sum(path.stat().st_size for path in files),)


def delete_document(folder):
    (folder / "annotations.json").unlink()


def delete_picture(folder):
    (folder / "images/p2.png").unlink()


def delete_everything(folder):
    shutil.rmtree(folder)


def make_a_link(folder):
    (folder / "annotations.json").unlink()
    (folder / "annotations.json").symlink_to("/etc/passwd")


@pytest.mark.parametrize(
    ("change", "images", "annotations"),
    [
        pytest.param(delete_document, [2, 2, 2], [2, 0, 2], id="document"),
        pytest.param(delete_picture, [2, 1, 2], [2, 1, 2], id="picture"),
        pytest.param(delete_everything, [2, 2], [2, 2], id="everything"),
        pytest.param(make_a_link, [2, 0, 2], [2, 0, 2], id="link"),
    ],
)
def test_what_is_taken_out_of_a_drop_after_it_was_sealed_costs_no_other(
    mill, change, images, annotations
):
    write_drops(mill, 3)
    sealed = find_and_seal(mill)
    change(mill.inbox / "drop-01")
    result = ingest_sealed(mill, sealed.drops)
    assert [drop.images for drop in result.drops] == images
    assert [drop.annotations for drop in result.drops] == annotations
    assert len(result.drops) + len(result.failed) == 3
    assert [drop.rejected for drop in result.drops] == [count == 0 for count in images]


def test_a_drop_that_never_stops_changing_fails_and_the_others_do_not_wait(mill, monkeypatch):
    write_drops(mill, 3)
    sealed = find_and_seal(mill)
    number = iter(range(1000))

    def read(self, key, real=LocalStore.read):
        data = real(self, key)
        return data + str(next(number)).encode() if "drop-01/images" in key else data

    monkeypatch.setattr(LocalStore, "read", read)
    result = ingest_sealed(mill, sealed.drops)
    assert [drop.source[-8:] for drop in result.drops] == ["drop-00/", "drop-02/"]
    ((failed, reason),) = [(drop.place.prefix, drop.reason) for drop in result.failed]
    assert failed == "inbox/drop-01/"
    assert "changed after its drop was sealed" in reason
    monkeypatch.undo()
    assert mill.ask("SELECT count(*) FROM images") == [(4,)]
    assert [drop.images for drop in ingest(mill).drops] == [2]


def test_a_file_that_vanishes_while_it_is_sealed_fails_its_drop_only(mill):
    write_drops(mill, 3)
    found = find(mill)
    (mill.inbox / "drop-01/images/p2.png").unlink()
    sealed = seal_drops.fn(mill.settings.root, found)
    assert [drop.place.prefix for drop in sealed.drops] == ["inbox/drop-00/", "inbox/drop-02/"]
    assert [drop.place.prefix for drop in sealed.failed] == ["inbox/drop-01/"]
    assert "images/p2.png changed" in sealed.failed[0].reason


class DiedError(Exception):
    pass


@pytest.mark.parametrize("table", ["images", "annotations", "quarantine", "units"])
@pytest.mark.parametrize("after", [False, True])
def test_a_run_that_dies_between_the_tables_is_done_again_and_leaves_each_row_once(
    mill, tmp_path, monkeypatch, table, after
):
    write_drops(mill, 4)
    ingest(mill)
    expected = rows_of(mill)
    mill.settings.root = str(tmp_path / "other")
    write_drops(mill, 4)

    def die(self, name, rows, *more, real=Lake.append_units):
        if after or name != table:
            real(self, name, rows, *more)
        if name == table:
            raise DiedError
        return set(rows)

    with monkeypatch.context() as dying, suppress(DiedError):
        dying.setattr(Lake, "append_units", die)
        ingest(mill)
    seen = mill.ask("SELECT count(*) FROM images")
    assert seen == ([(8,)] if after and table == "units" else [(0,)])
    ingest(mill)
    assert rows_of(mill) == expected
    stored = mill.ask("SELECT count(*), count(DISTINCT (unit_id, image_id)) FROM stored.images")
    assert stored == [(8, 8)]


def rows_of(mill):
    questions = (
        "SELECT unit_id, image_id, split FROM images",
        "SELECT unit_id, image_id, annotation_id, segmentation_file FROM annotations",
        "SELECT unit_id, subject FROM units",
        "SELECT drop_id, prefix FROM drops",
    )
    return [sorted(mill.ask(question)) for question in questions]


def sealed_drop(name, files, json_bytes=0):
    named = [DropFile(f"{name}{n}.png", 10, "1", "0") for n in range(files)]
    document = DropFile(f"{name}annotations.JSON", json_bytes, "1", "0")
    return SealedDrop(name, drops_module.DropPlace("root", name, "boxes"), (*named, document))


def test_groups_are_of_so_many_files_and_bytes_of_documents(monkeypatch):
    monkeypatch.setattr(ingest_module, "_GROUP_FILES", 10)
    monkeypatch.setattr(ingest_module, "_GROUP_JSON_BYTES", 100)
    drops = [
        *(sealed_drop(f"{n}/", 4) for n in range(3)),  # five files each
        sealed_drop("many/", 50),
        sealed_drop("a/", 1, json_bytes=60),
        sealed_drop("b/", 1, json_bytes=60),
        sealed_drop("c/", 1, json_bytes=40),
    ]
    names = [group.name for group in group_drops(drops)]
    assert names == ["0/ and 1 more", "2/", "many/", "a/", "b/ and 1 more"]
    assert list(group_drops([])) == []


def test_documents_of_a_group_are_all_read(mill):
    """A document of one drop says nothing about the images of another, whatever its ids."""
    for name, label in (("a", "cat"), ("b", "dog")):
        document = write_box_drop(mill.inbox / name, [[((4 + len(name), 4, 10, 8), RED)]])
        document["categories"][0]["name"] = label
        (mill.inbox / name / "annotations.json").write_text(json.dumps(document))
        Path(mill.inbox / name / "extra.txt").write_text(name)
    ingest(mill)
    assert mill.ask("SELECT category FROM annotations ORDER BY 1") == [("cat",), ("dog",)]
