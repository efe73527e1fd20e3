"""A training learns from fixed data, goes on where it was cut off, and is recorded once."""

import pickle
import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from examples.comics import write_drop
from flows.ingest import run_ingest
from flows.requests import IngestRequest
from flows.running import InProcess
from storage.errors import VersionGoneError
from storage.lake import Lake
from storage.model_store import ModelStore
from storage.settings import Settings
from tasks.plan_training import plan_training
from tasks.train_model import MOST_SKIPPED, train_model
from tasks.training_data import NoTrainingDataError, TrainingData
from tasks.training_images import training_images
from tests.drops import hold_back
from tests.short_trainings import SHORT
from vision.finetune import NonFiniteLossError, make_config
from vision.finetune.errors import FolderInUseError
from vision.finetune.run_folder import locked
from vision.models import resolve_model


@pytest.fixture
def settings(tmp_path):
    """A root with a dataset of six pages."""
    made = Settings(root=str(tmp_path / "root"), training_folder=str(tmp_path / "training"))
    add_pages(made, tmp_path / "pages", range(300, 306))
    return made


@pytest.fixture
def config():
    return make_config(yaml.safe_load(SHORT) | {"limits": {"steps": 3}})


def add_pages(settings, folder, seeds):
    write_drop(folder, seeds, size_px=192)
    run_ingest(IngestRequest(dataset="comics", source=str(folder)), settings, InProcess())


def test_a_training_makes_a_model_and_is_recorded_once(settings, config):
    plan = plan_training.fn("comics", config, settings)
    told = []
    done = train_model.fn(plan, progress=lambda *report: told.append(report))
    assert [report[1:3] for report in told] == [(1, 3), (2, 3), (3, 3)]
    assert (done.steps, done.ending, done.masks) == (3, "all steps", plan.masks)
    (model,) = ModelStore(settings.root).models()
    assert model.model_id == done.model_id != plan.base_model_id
    assert model.model_id.startswith("comics-")
    assert model.training_run_id == plan.training_run_id == done.training_run_id
    assert model.parent_id == resolve_model("demo").model_id
    assert not (plan.folder / "checkpoints").exists()

    again = train_model.fn(plan_training.fn("comics", config, settings))
    assert again.model_id == done.model_id
    (row,) = Lake.open(settings.root).read("training_runs").to_pylist()
    assert (row["state"], row["steps"], row["annotations"]) == ("completed", 3, plan.masks)
    assert row["data_version"] == plan.data.to_json()
    assert row["final_loss"] == done.final_loss > 0
    assert row["started_at"] < row["ended_at"]


def test_a_training_that_is_cut_off_goes_on_to_the_same_model(settings, config, tmp_path):
    plan = plan_training.fn("comics", config, settings)
    asked = iter([False, True])
    part = train_model.fn(plan, should_stop=lambda: next(asked))
    assert (part.model_id, part.steps, part.ending) == (None, 1, "asked to stop")
    assert ModelStore(settings.root).models() == []
    # What came meanwhile is for the next training.
    later = plan_training.fn("comics", config, settings)
    assert later == plan
    shutil.copytree(settings.root, tmp_path / "copy")
    undisturbed = replace(plan, root=str(tmp_path / "copy"), folder=tmp_path / "elsewhere")
    whole = train_model.fn(undisturbed)
    assert train_model.fn(plan).model_id == whole.model_id is not None
    # A machine that has none of its files finds what was made, and trains no second one.
    again = train_model.fn(replace(undisturbed, folder=tmp_path / "third"))
    assert again == whole
    assert not (tmp_path / "third").exists()


def test_other_data_models_and_settings_are_other_trainings(settings, config, tmp_path):
    plan = plan_training.fn("comics", config, settings)
    others = [
        plan_training.fn("comics", config.model_copy(update={"seed": 8}), settings),
        plan_training.fn("comics", config, settings, crossing_id="a" * 64),
    ]
    add_pages(settings, tmp_path / "more", range(400, 401))
    others.append(plan_training.fn("comics", config, settings))
    assert len({plan.training_run_id, *(other.training_run_id for other in others)}) == 4
    # For one occasion there is one training, with the data that it was begun with.
    same = plan_training.fn("comics", config, settings, crossing_id="a" * 64)
    assert same == others[1]
    assert same.masks < others[2].masks


def clean_up(settings):
    """What maintenance does once the files of old versions are older than the retention."""
    stored = Lake.open(settings.root).table("units")
    stored.optimize.compact()
    stored.vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)


@pytest.mark.parametrize("crossing_id", [None, "a" * 64])
def test_a_training_whose_data_is_gone_is_planned_again(settings, config, crossing_id, tmp_path):
    def plan_again():
        return plan_training.fn("comics", config, settings, crossing_id=crossing_id)

    add_pages(settings, tmp_path / "more", range(400, 402))
    first = plan_again()
    assert plan_again() == first
    clean_up(settings)
    with pytest.raises(VersionGoneError, match="'units'"):
        train_model.fn(first)
    second = plan_again()
    assert second.training_run_id != first.training_run_id
    assert second.folder != first.folder
    assert (second.masks, second.data.mark) == (first.masks, first.data.mark)
    assert plan_again() == second
    done = train_model.fn(second)
    assert done.model_id is not None
    # What was made is found, whether its data is there or not.
    add_pages(settings, tmp_path / "others", range(410, 411))
    if crossing_id is None:
        assert plan_again().training_run_id not in (first.training_run_id, second.training_run_id)
    clean_up(settings)
    assert train_model.fn(second) == done
    if crossing_id is not None:
        assert plan_again() == second


def test_planning_alone_writes_nothing(settings, config):
    plan = plan_training.fn("comics", config, settings, write=False)
    assert not plan.folder.exists()
    assert not (Path(settings.root) / "trainings").exists()
    assert plan.masks == sum(plan.labels.values()) > 0


def test_what_is_trained_on_is_what_is_curated(settings, config):
    with TrainingData(Lake.open(settings.root), dataset="comics") as data:
        found, left_out = training_images(settings.root, data, settings.max_image_px)
        samples = {sample.image_id: sample for sample in data.samples()}
    assert {image.image_id for image in found} == samples.keys()
    assert left_out == {}
    for image in found:
        assert image.pixels().shape == (image.height_px, image.width_px, 3)
        assert image.rles == tuple(mask.rle for mask in samples[image.image_id].masks)
    assert pickle.loads(pickle.dumps(found[0])) == found[0]  # other processes read the pixels


def test_what_looks_like_a_held_back_image_is_not_learnt_from(settings, tmp_path):
    folder = tmp_path / "alike"
    write_drop(folder, [300], size_px=192)  # a page of the dataset, a little brighter
    (file,) = (folder / "images").iterdir()
    cv2.imwrite(str(file), np.clip(cv2.imread(str(file)).astype(int) + 3, 0, 255).astype(np.uint8))
    hold_back(folder, 1)
    run_ingest(IngestRequest(dataset="others", source=str(folder)), settings, InProcess())
    with TrainingData(Lake.open(settings.root), dataset="comics") as data:
        found, left_out = training_images(settings.root, data, settings.max_image_px)
        masks = data.counts.images
    assert set(left_out.values()) == {"looks like an image that is held back"}
    assert len(left_out) >= 1
    assert len(found) + len(left_out) == masks


def test_of_many_images_that_are_left_out_the_first_are_kept(settings, config, monkeypatch):
    def many_left_out(*arguments):
        return found, {
            f"{number:064}": "it is broken, for a reason. " * 10 for number in range(9000)
        }

    with TrainingData(Lake.open(settings.root), dataset="comics") as data:
        found, _ = training_images(settings.root, data, settings.max_image_px)
    monkeypatch.setattr("tasks.train_model.training_images", many_left_out)
    plan = plan_training.fn("comics", config, settings)
    done = train_model.fn(plan)
    assert (len(done.skipped), done.skipped_count) == (MOST_SKIPPED, 9000)
    assert next(iter(done.skipped)) == "0" * 64
    assert train_model.fn(plan) == done
    store = ModelStore(settings.root)
    assert store.config(store.models()[0])["training"]["skipped_count"] == 9000


def test_a_training_that_fails_is_recorded_by_each_run(settings, config, monkeypatch):
    def fail(*_, **__):
        raise NonFiniteLossError(1, float("nan"), ["image"])

    plan = plan_training.fn("comics", config, settings)
    monkeypatch.setattr("vision.finetune.run.finetune", fail)
    for run_id in ("first", "first", "second"):
        with pytest.raises(NonFiniteLossError):
            train_model.fn(plan, run_id=run_id)
    rows = Lake.open(settings.root).read("training_runs").to_pylist()
    assert [row["state"] for row in rows] == ["failed", "failed"]
    monkeypatch.undo()
    with locked(plan.folder), pytest.raises(FolderInUseError):
        train_model.fn(plan, run_id="third")  # no failure of the training that is at it
    assert Lake.open(settings.root).read("training_runs").num_rows == 2
    assert ModelStore(settings.root).models() == []


def test_nothing_curated_is_told(tmp_path, config):
    with pytest.raises(NoTrainingDataError, match="accept segments with segmill review"):
        plan_training.fn("comics", config, Settings(root=str(tmp_path)))
