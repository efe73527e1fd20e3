"""References to models of a root: which model they are, and what loads it."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from storage.errors import DamagedModelError, WeightsRefusedError
from storage.model_store import ModelStore
from tasks.live_model import local_reference, resolve_reference
from tasks.models import Compute, choose_models, load_models
from tasks.promote_model import promote_by_hand
from tasks.register_model import register_model
from tests.model_files import put_models, weights_file
from vision.models import DEMO_FOLDER, ModelReferenceError, resolve_model
from vision.sam2.architecture import WeightsFileError

CHOSEN = {"clip_model": "demo", "preset": "demo", "precision": "exact", "labels": "comic"}


@pytest.fixture
def root(tmp_path) -> str:
    return str(tmp_path / "root")


@pytest.fixture(scope="session")
def tuned(tmp_path_factory) -> Path:
    """The demo model with one number changed."""
    tensors = load_file(DEMO_FOLDER / "sam2.safetensors")
    tensors["no_mem_embed"] = tensors["no_mem_embed"] + 1e-3
    path = tmp_path_factory.mktemp("tuned") / "tuned.safetensors"
    save_file(tensors, path, {"image_size": "256"})
    return path


def choose(root, model):
    return choose_models.fn(model=model, root=root, **CHOSEN)


def test_a_registered_model_is_loaded_under_its_own_id(root, tuned):
    model, _ = register_model(root, f"file:{tuned}", name="Comic 7")
    assert ModelStore(root).config(model) == {"architecture": "demo", "image_size_px": 256}
    chosen = choose(root, "model:comic")
    assert (chosen.segmenter, chosen.model_id) == (f"model:{model.model_id}", model.model_id)
    segmenter = load_models(chosen, Compute("cpu")).segmenter
    assert segmenter.model_id == model.model_id
    assert load_models(chosen, Compute("cpu")).segmenter is segmenter


def test_promoted_is_asked_once_a_run(root, tuned):
    before = choose(root, "promoted")
    model, _ = register_model(root, f"file:{tuned}", name="comic")
    promote_by_hand(root, "comic", "x")
    after = choose(root, "promoted")
    assert (before.segmenter, after.segmenter) == ("demo", f"model:{model.model_id}")
    # What was chosen stays so, whatever is live by the time a batch loads it.
    assert load_models(before, Compute("cpu")).segmenter.model_id == before.model_id
    assert replace(after, root="") != after


def test_a_folder_of_the_store_is_the_same_model(root, tuned, tmp_path):
    model, _ = register_model(root, f"file:{tuned}", name="x" * 60)
    folder = Path(root) / "models" / model.model_id
    assert resolve_model(f"file:{folder}").model_id == model.model_id
    assert resolve_model(local_reference(f"model:{model.model_id}", root)).model_id == (
        model.model_id
    )


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        ("model:stret", "did you mean street-"),
        ("model:comic", "beginning of 2 models: comic-"),
        ("model:", "segmill models list names the 3"),
        ("comic", "expected promoted, model:ID, demo"),
        ("", "expected promoted, model:ID, demo"),
    ],
)
def test_a_reference_to_no_model_says_what_there_is(root, tmp_path, reference, words):
    for number, name in enumerate(("comic", "comics", "street")):
        path = weights_file(tmp_path / f"{name}.safetensors", number)
        ModelStore(root).put(name, path, {})
    with pytest.raises(ModelReferenceError) as caught:
        choose(root, reference)
    assert repr(reference) in str(caught.value)
    assert words in str(caught.value)


def test_a_model_whose_file_is_gone_stops_the_run_when_it_begins(root, tmp_path):
    (model,) = put_models(root, tmp_path, "a")
    (Path(root) / model.prefix / "model.safetensors").unlink()
    with pytest.raises(DamagedModelError, match=r"model\.safetensors"):
        choose(root, "model:a")


def test_what_cannot_be_loaded_is_not_registered(root, tmp_path, tuned):
    tensors = load_file(tuned)
    tensors["no_mem_embed"] = torch.full_like(tensors["no_mem_embed"], float("nan"))
    save_file(tensors, tmp_path / "nan.safetensors")
    save_file({"weight": torch.zeros(3)}, tmp_path / "other.safetensors")
    torch.save({"model": {}}, tmp_path / "checkpoint.pt")
    for name, error, words in (
        ("nan.safetensors", WeightsFileError, "not finite"),
        ("other.safetensors", WeightsFileError, "no SAM 2 image encoder"),
        ("checkpoint.pt", WeightsRefusedError, "segmill models pull"),
    ):
        with pytest.raises(error, match=words):
            register_model(root, f"file:{tmp_path / name}")
    assert not Path(root).exists()


def test_a_first_root_needs_no_tables_for_references_of_files(root):
    assert resolve_reference("demo", root).model_id.startswith("demo-")
    assert not Path(root).exists()


def test_the_model_that_ships_keeps_its_id_and_is_live_already(root):
    model, _ = register_model(root, f"file:{DEMO_FOLDER / 'sam2.safetensors'}", name="other")
    assert model.model_id == resolve_model("demo").model_id
    assert promote_by_hand(root, "demo", "x").promotion is None
