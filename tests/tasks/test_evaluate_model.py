"""A real model is measured on real pages, once, and in the same way as every other."""

import shutil
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest

from flows.ingest import run_ingest
from flows.requests import IngestRequest
from flows.running import InProcess
from storage.evaluations import read_evaluations
from storage.lake import Lake
from storage.settings import Settings
from tasks.evaluate_model import NothingMeasuredError, evaluate_folder, evaluate_model
from tasks.evaluation_pictures import draw_worst
from tasks.frozen_folder import freeze_folder
from tasks.frozen_set import NoFrozenSetError
from tasks.gate import comparable, decide
from tasks.gate_rules import Gate
from tasks.measured_pairs import newest_pair
from tasks.models import UnknownPresetError
from tests.frozen_pages import OBJECTS, PAGES, few_points, write_held_back, write_model
from vision.draw.answers import PREDICTED_COLOR, TRUE_COLOR
from vision.models import ModelReferenceError, resolve_model
from vision.sam2.architecture import WeightsFileError

PROMPTS = {f"miou@{n}.{first}{best}" for n in (1, 3, 5) for first in ("centre", "random")
           for best in ("", ".oracle")} | {"miou.box"}  # fmt: skip
AUTOMATIC = {"ar@100", "ar@1000", "boundary_f", "masks_per_image", "empty_share", "coverage"}


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """A root whose held-back pages the demo model was measured on, and what was found."""
    folder = tmp_path_factory.mktemp("measured")
    write_held_back(folder / "pages")
    root = str(folder / "root")
    request = IngestRequest(dataset="comics", source=str(folder / "pages"))
    run_ingest(request, Settings(root=root), InProcess())
    with pytest.MonkeyPatch.context() as monkeypatch:
        few_points(monkeypatch)
        summary = evaluate_model.fn(root, "demo", "comics", run_id="first")
    return folder, summary


@pytest.fixture
def root(measured, tmp_path, monkeypatch):
    few_points(monkeypatch)
    shutil.copytree(measured[0] / "root", tmp_path / "root")
    return str(tmp_path / "root")


def test_every_number_is_stored_with_the_values_that_the_gate_compares(measured, root):
    summary = measured[1]
    assert summary.metrics.keys() >= PROMPTS | AUTOMATIC
    assert (summary.images, summary.objects) == (PAGES, PAGES * OBJECTS)
    assert (summary.skipped, summary.reused) == ([], False)
    assert summary.model_id == resolve_model("demo").model_id
    (stored,) = read_evaluations(Lake.open(root))
    assert stored.evaluation_id == summary.evaluation_id
    assert (stored.dataset, stored.split, stored.images) == ("comics", "test", PAGES)
    assert (stored.run_id, stored.set_id) == ("first", summary.set_id)
    for name, metric in stored.metrics.items():
        values = [value for of_image in metric.per_image.values() for value in of_image]
        assert np.mean(values) == pytest.approx(metric.value, abs=1e-12), name
        assert name == "masks_per_image" or 0 <= min(values) <= max(values) <= 1
        objects = {len(of_image) for of_image in metric.per_image.values()}
        if name in PROMPTS | {"ar@100", "ar@1000", "boundary_f"}:
            assert objects == {OBJECTS}
        elif not name.startswith("ar@"):
            assert objects == {1}
    # The model has learnt something.
    numbers = summary.metrics
    assert numbers["miou@1.centre.oracle"] >= numbers["miou@1.centre"] > 0.2
    assert numbers["miou.box"] > 0.5
    means = [each.miou for each in summary.worst]
    assert means == sorted(means)
    assert np.mean(means) == pytest.approx(numbers["miou@1.centre"])


def test_what_was_measured_is_found_again(root, monkeypatch):
    def never(*args, **kwargs):
        raise AssertionError("a model was loaded")

    with monkeypatch.context() as patched:
        patched.setattr("tasks.evaluate_model.load_both", never)
        again = evaluate_model.fn(root, "promoted", "comics", run_id="second")
        with pytest.raises(AssertionError):
            evaluate_model.fn(root, "demo", "comics", max_images=1)
        with pytest.raises(AssertionError):
            evaluate_model.fn(root, "demo", "comics", automatic=False)
    assert again.reused
    (stored,) = read_evaluations(Lake.open(root))
    assert (again.evaluation_id, stored.run_id) == (stored.evaluation_id, "first")
    assert again.metrics == {name: metric.value for name, metric in stored.metrics.items()}


def test_two_models_are_compared_on_the_same_objects_and_nothing_else(root, tmp_path):
    worse = write_model(tmp_path / "worse.safetensors", 2.0)
    seen = []
    options = {"automatic": False, "max_images": 2}
    evaluate_model.fn(root, "demo", "comics", **options)
    evaluate_model.fn(
        root,
        f"file:{worse}",
        "comics",
        progress=lambda stage, done, total, detail="": seen.append((stage, done, total)),
        **options,
    )
    assert seen == [("evaluate", n, 2) for n in (1, 2)]
    whole, live, candidate = read_evaluations(Lake.open(root))
    assert live.model_id == whole.model_id != candidate.model_id
    assert comparable(candidate, live)
    assert not comparable(candidate, whole)
    # Some of the images say nothing against a measurement of all.
    assert newest_pair([whole, live], [whole]) == (whole, whole)
    assert candidate.metrics["miou@1.centre"].value < live.metrics["miou@1.centre"].value - 0.05
    images = live.metrics["miou@1.centre"].per_image
    assert images.items() <= whole.metrics["miou@1.centre"].per_image.items()
    rule = {"metric": "miou@1.centre", "must": "improve"}
    gate = Gate.model_validate({"rules": [rule], "min_images": 2})
    assert decide(gate, candidate, live).verdict == "refuse"
    (_, improve) = decide(gate, live, candidate).rules
    assert (improve.images, improve.passed) == (2, True)
    other = replace(candidate, set_id="0" * 64)
    assert not comparable(other, live)
    assert "set 000000000000" in decide(gate, other, live).rules[0].words


def test_a_model_with_nan_in_it_is_refused_before_anything_is_measured(root, tmp_path):
    broken = write_model(tmp_path / "broken.safetensors", float("nan"))
    with pytest.raises(WeightsFileError, match="not finite"):
        evaluate_model.fn(root, f"file:{broken}", "comics")
    assert len(read_evaluations(Lake.open(root))) == 1


def test_an_image_that_cannot_be_read_is_skipped_and_named(root):
    drop = sorted(Path(root, "images").rglob("*.*"))
    drop[0].write_bytes(b"GIF89a, but no more")
    drop[1].unlink()
    found = evaluate_model.fn(root, "demo", "comics", automatic=False, again=True)
    assert (found.images, len(found.skipped)) == (PAGES - 2, 2)
    assert all(name.startswith("images/page_") for name in found.skipped)
    for path in drop[2:]:
        path.unlink()
    with pytest.raises(NothingMeasuredError, match=f"none of the {PAGES} images of comics/test"):
        evaluate_model.fn(root, "demo", "comics", automatic=False, again=True)


def test_pictures_show_the_worst_images_worst_first(measured, root, tmp_path):
    summary = measured[1]
    written = draw_worst(root, summary, tmp_path / "worst", reference="demo")
    sheet, *pages = written
    assert [path.name[:9] for path in written] == [
        "worst.png",
        *(f"worst-0{n}-" for n in range(1, PAGES + 1)),
    ]
    names = [Path(each.file_name).stem.replace("_", "-") for each in summary.worst]
    assert [path.stem[9:] for path in pages] == names
    assert all(one.miou <= other.miou for one, other in pairwise(summary.worst))
    picture = cv2.imread(str(pages[0]))[..., ::-1].astype(int)
    assert max(picture.shape) == 1024
    assert (np.abs(picture - TRUE_COLOR).max(axis=2) < 8).sum() > 500
    assert (np.abs(picture - PREDICTED_COLOR).max(axis=2) < 40).sum() > 100
    assert cv2.imread(str(sheet)).shape[1] > PAGES * 300


def test_a_folder_gives_the_same_numbers_and_stores_nothing(measured, root):
    folder, summary = measured
    frozen, findings = freeze_folder(str(folder / "pages"), Settings())
    assert findings == 0
    before = sorted(Path(root).rglob("*"))
    found = evaluate_folder(root, "demo", frozen)
    assert sorted(Path(root).rglob("*")) == before
    assert (found.evaluation_id, found.set_id) == (None, summary.set_id)
    assert found.metrics == summary.metrics


def test_what_cannot_be_measured_is_said(root):
    with pytest.raises(ModelReferenceError, match="comic-9"):
        evaluate_model.fn(root, "model:comic-9", "comics")
    with pytest.raises(NoFrozenSetError, match="'comics' in the split val"):
        evaluate_model.fn(root, "demo", "comics", split="val")
    with pytest.raises(UnknownPresetError, match="'huge'"):
        evaluate_model.fn(root, "demo", "comics", preset="huge")
