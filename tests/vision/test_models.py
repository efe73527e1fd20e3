import json

import pytest
import torch
from safetensors.torch import save_file

from vision import models
from vision.models import ModelReferenceError, model_id, resolve_model


@pytest.fixture
def weights(tmp_path):
    path = tmp_path / "My Model (v2).safetensors"
    save_file({"weight": torch.zeros(3)}, path)
    return path


def test_a_file_is_named_by_its_name_and_its_content(weights, tmp_path):
    source = resolve_model(f"file:{weights}")
    copy = tmp_path / "copy.safetensors"
    copy.write_bytes(weights.read_bytes())

    assert source.kind == "file"
    assert source.path == weights
    assert source.model_id.startswith("my-model-v2-")
    assert resolve_model(f"file:{copy}").model_id[-12:] == source.model_id[-12:]


@pytest.mark.parametrize(
    ("listed", "told"),
    [
        ({"files": {"other.safetensors": {"sha256": "0" * 64}}}, "does not list it"),
        ({"files": {"My Model (v2).safetensors": {"sha256": "0" * 64}}}, "says 000000000000"),
        ([], "does not list it"),
    ],
)
def test_case_145_weights_that_their_manifest_does_not_know_are_refused(weights, listed, told):
    (weights.parent / "manifest.json").write_text(json.dumps(listed))

    with pytest.raises(ModelReferenceError, match=told):
        resolve_model(f"file:{weights}")


def test_a_folder_stands_for_its_only_weights_file(weights):
    assert resolve_model(f"file:{weights.parent}").path == weights


def test_weights_called_model_take_their_folders_name(tmp_path):
    folder = tmp_path / "comic-0007"
    folder.mkdir()
    save_file({"weight": torch.zeros(3)}, folder / "model.safetensors")

    assert resolve_model(f"file:{folder}").model_id.startswith("comic-0007-")


def test_a_folder_of_several_weights_is_refused_with_their_names(weights):
    save_file({"weight": torch.ones(3)}, weights.parent / "b.safetensors")

    with pytest.raises(ModelReferenceError, match=r"b\.safetensors"):
        resolve_model(f"file:{weights.parent}")


@pytest.mark.parametrize(
    "reference",
    [
        "",
        "file:",
        "hub:",
        "hub:name",
        "hub:../../etc",
        "sam2",
        "http://host/model",
        "file:/nowhere",
    ],
)
def test_what_names_no_model_is_refused_with_the_reference(reference):
    with pytest.raises(ModelReferenceError) as caught:
        resolve_model(reference)

    assert repr(reference) in str(caught.value)


def test_a_missing_demo_model_says_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setattr(models, "DEMO_FOLDER", tmp_path)

    with pytest.raises(ModelReferenceError, match="reinstall, or train it again"):
        resolve_model("demo")


def test_the_demo_model_is_the_one_that_ships(monkeypatch, weights):
    monkeypatch.setattr(models, "DEMO_FOLDER", weights.parent)

    source = resolve_model("demo", weights.name)

    assert source.kind == "demo"
    assert source.model_id == model_id("demo", weights)


def test_a_hub_out_of_reach_is_said(monkeypatch):
    import huggingface_hub

    def refuse(*_args, **_kwargs):
        raise OSError("no route to host")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", refuse)

    with pytest.raises(ModelReferenceError, match="cannot be fetched from the hub"):
        resolve_model("hub:facebook/sam2.1-hiera-tiny")


def test_released_models_are_fetched_as_sam2_names_them():
    from sam2.build_sam import HF_MODEL_ID_TO_FILENAMES

    assert {name: files[1] for name, files in HF_MODEL_ID_TO_FILENAMES.items()} == (
        models.HUB_CHECKPOINTS
    )
