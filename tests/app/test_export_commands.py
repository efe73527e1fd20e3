import json
import sys
from datetime import UTC, datetime

import pytest

from app import cli
from examples.comics import write_drop
from storage.lake import Lake
from storage.session import connect
from tasks.models import LoadedModels
from tests.exports import Drawn, awkward_pages, fill
from tests.fakes import ColorLabeller, ComponentSegmenter
from vision.coco.sa1b import CATEGORY


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A filled root, which is the one commands use, and an empty folder to be in."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SEGMILL_ROOT", str(tmp_path / "root"))
    return fill(tmp_path / "root", awkward_pages())


@pytest.fixture
def segmill(monkeypatch, capsys):
    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["segmill", *map(str, arguments)])
        capsys.readouterr()
        code = 0
        try:
            cli.main()
        except SystemExit as stop:
            code = stop.code or 0
        return code, *capsys.readouterr()

    return run


@pytest.mark.parametrize("form", ["coco", "coco-panoptic", "comic", "sa1b", "yolo"])
def test_the_help_of_each_form_shows_an_example(segmill, form):
    code, out, _ = segmill("export", form, "--help")
    assert code == 0
    assert f"segmill export {form} --output" in out


def test_the_summary_tells_what_was_written(segmill, root):
    code, out, err = segmill("export", "coco", "-o", "out", "--segmentation", "polygon")
    assert (code, out) == (0, "")
    assert "2 images and 7 masks in out: bubble 2, panel 3, sky 1" in err
    assert "2 masks kept as RLE" in err
    code, out, err = segmill("export", "coco", "-o", "out", "--overwrite", "--json")
    assert (code, err) == (0, "")
    assert json.loads(out)["objects"] == 7
    assert segmill("export", "coco", "-o", "quiet", "--quiet") == (0, "", "")


@pytest.mark.parametrize("form", ["coco", "coco-panoptic", "comic", "sa1b"])
def test_an_export_is_accepted_by_check_and_ingest(segmill, root, form):
    assert segmill("export", form, "-o", "out", "--source", "annotations", "--quiet")[0] == 0
    assert segmill("check", "out")[0] == 0
    code, out, _ = segmill("ingest", "out", "--root", "second", "--json")
    assert code == 0
    assert json.loads(out)["drops"][0]["quarantined"] == 0


@pytest.mark.parametrize("form", ["coco", "coco-panoptic", "comic", "sa1b"])
@pytest.mark.parametrize("source", ["annotations", "segments"])
def test_generated_pages_come_back_as_they_went_out(segmill, tmp_path, monkeypatch, form, source):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        "tasks.segment_batch.load_models",
        lambda choice, device: LoadedModels(ComponentSegmenter(), ColorLabeller()),
    )
    for name in ("cutter", "namer"):
        (tmp_path / f"{name}.safetensors").write_bytes(name.encode())
    monkeypatch.setenv("SEGMILL_MODEL", "file:cutter.safetensors")
    monkeypatch.setenv("SEGMILL_CLIP_MODEL", "file:namer.safetensors")
    write_drop(tmp_path / "drop", range(2), size_px=128)
    assert segmill("ingest", "drop", "--root", "one", "--quiet")[0] == 0
    if source == "segments":
        assert segmill("segment", "--root", "one", "--quiet")[0] == 0
    chosen = ("--source", source, "--root", "one")
    assert segmill("export", form, "-o", "out", *chosen, "--quiet")[0] == 0
    code, out, _ = segmill("ingest", "out", "--root", "two", "--json")
    assert code == 0
    assert json.loads(out)["drops"][0]["quarantined"] == 0

    def masks(root, table):
        with connect(Lake.open(root)) as session:
            label = "label" if table == "segments" else "category"
            sql = f"SELECT image_id, {label}, rle FROM {table} WHERE area_px > 0 ORDER BY ALL"
            rows = session.execute(sql).fetchall()
        return [(image, CATEGORY if form == "sa1b" else name, rle) for image, name, rle in rows]

    before, after = masks("one", source), masks("two", "annotations")
    if form == "coco-panoptic":  # a pixel has one segment there: compare where that makes no odds
        shown = {(image, name) for image, name, _ in after}
        assert shown <= {(image, name) for image, name, _ in before}
    else:
        assert sorted(before) == sorted(after)
    assert after


def test_several_models_in_one_export_are_pointed_out(segmill, tmp_path, monkeypatch):
    first = awkward_pages()[0]
    again = [Drawn(drawn.mask, drawn.label, model="other-2") for drawn in first.drawn]
    both = type(first)(first.width, first.height, [*first.drawn, *again])
    fill(tmp_path / "root", [both])
    monkeypatch.chdir(tmp_path)
    code, _, err = segmill("export", "coco", "-o", "out", "--root", "root")
    assert code == 0
    assert "choose one with --model: demo-1, other-2" in err
    code, _, err = segmill("export", "coco", "-o", "one", "--root", "root", "--model", "other-2")
    assert "4 masks in one" in err
    assert "choose one" not in err


def test_images_that_are_gone_are_a_partial_failure(segmill, root):
    for info in list(root.store.list("images/")):
        if root.images[0] in info.key:
            root.store.delete(info.key)
    code, _, err = segmill("export", "coco", "-o", "out")
    assert code == 1
    assert "1 image left out: gone from the store, or broken" in err


def test_the_help_of_crops_shows_how_they_are_called(segmill):
    code, out, _ = segmill("export", "crops", "--help")
    assert code == 0
    assert "[label]_[id]_[confidence].png" in "".join(out.split())


def test_crops_of_images_that_are_gone_are_a_partial_failure(segmill, root):
    for info in list(root.store.list("images/")):
        if root.images[0] in info.key:
            root.store.delete(info.key)
    code, _, err = segmill("export", "crops", "-o", "out")
    assert code == 1
    assert "1 image could not be read" in err
    code, out, _ = segmill("export", "crops", "-o", "out", "--json")
    assert (code, json.loads(out)["unreadable_images"]) == (1, 1)


def test_crops_keep_to_the_largest_image_of_the_settings(segmill, root, monkeypatch):
    monkeypatch.setenv("SEGMILL_MAX_IMAGE_PX", "100")
    code, _, err = segmill("export", "crops", "-o", "out")
    assert code == 1
    assert "0 crops in out" in err
    assert "2 images could not be read" in err


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--label", "no such label"], 2, "no segments fit these filters"),
        (["--source", "annotations", "--min-score", "0.5"], 2, "neither model nor score"),
        (["--as-of", "segments"], 2, "TABLE=VERSION"),
        (["--as-of", "segments=99"], 2, "no version 99; its newest is 1"),
        (["--as-of", "pages=1"], 2, "Unknown table 'pages'"),
        (["--strict"], 2, "--segmentation polygon"),
        (["--segmentation", "polygon", "--strict"], 1, "2 masks have holes"),
        (["-o", "used"], 2, "--overwrite"),
        (["-o", "used", "--overwrite"], 2, "no earlier export"),
    ],
)
def test_what_cannot_be_exported_is_told_in_a_sentence(
    segmill, root, tmp_path, arguments, code, words
):
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "diary.txt").write_text("mine")
    output = [] if "-o" in arguments else ["-o", "out"]
    answer, out, err = segmill("export", "coco", *output, *arguments)
    assert (answer, out) == (code, "")
    assert words in " ".join(err.replace("│", " ").split())
    assert "Traceback" not in err
    assert not (tmp_path / "out").exists()
    assert (tmp_path / "used" / "diary.txt").read_text() == "mine"


def test_every_export_takes_the_tables_as_they_were(segmill, root):
    for form in ("coco", "crops"):
        code, _, err = segmill("export", form, "-o", f"old-{form}", "--as-of", "2020-01-01")
        if form == "coco":
            assert code == 2 and "no segments fit these filters" in err
        else:
            assert code == 0 and "0 crops" in err
        code, _, err = segmill("export", form, "-o", "x", "--as-of", "2999-01-01")
        assert code == 2 and "Expected a time that is past" in err
    now = datetime.now(UTC).isoformat()
    code, out, _ = segmill("export", "coco", "-o", "new", "--as-of", now, "--json")
    assert code == 0
    assert json.loads(out)["objects"] == 7
    code, out, _ = segmill("export", "crops", "-o", "crops", "--as-of", "segments=0", "--json")
    assert json.loads(out)["written"] == 0
