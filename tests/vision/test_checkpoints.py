"""Checkpoints are read in a process of their own, which knows no secret."""

import pickle
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file

from vision.checkpoints import ConversionError, convert_weights
from vision.clip.loading import load_clip
from vision.models import ModelReferenceError
from vision.sam2.weights import read_tensors

TENSORS = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.tensor(7)}


@pytest.mark.parametrize("content", [TENSORS, {"model": TENSORS}], ids=["plain", "under model"])
def test_a_checkpoint_is_read_as_it_was_saved(tmp_path, content):
    path = tmp_path / "weights.pt"
    torch.save(content, path)
    found = read_tensors(path)
    assert found.keys() == TENSORS.keys()
    assert all(torch.equal(found[name], TENSORS[name]) for name in TENSORS)
    assert [file.name for file in tmp_path.iterdir()] == ["weights.pt"]


def test_tensors_that_share_their_memory_and_metadata_are_kept(tmp_path):
    shared = torch.zeros(4)
    torch.save({"x": shared, "y": shared[:2]}, tmp_path / "shared.pt")
    convert_weights(tmp_path / "shared.pt", tmp_path / "a.safetensors")
    assert {name: len(found) for name, found in load_file(tmp_path / "a.safetensors").items()} == {
        "x": 4,
        "y": 2,
    }
    save_file({"x": shared}, tmp_path / "b.safetensors", {"image_size": "256"})
    convert_weights(tmp_path / "b.safetensors", tmp_path / "c.safetensors")
    assert b'"image_size":"256"' in (tmp_path / "c.safetensors").read_bytes()


def test_nothing_of_a_checkpoint_is_unpickled_in_this_process(tmp_path, monkeypatch):
    path = tmp_path / "weights.pt"
    torch.save(TENSORS, path)

    def refuse(*args, **kwargs):
        raise AssertionError("unpickled here")

    monkeypatch.setattr(torch, "load", refuse)
    monkeypatch.setattr(pickle, "load", refuse)
    monkeypatch.setattr(pickle, "loads", refuse)
    assert read_tensors(path).keys() == TENSORS.keys()


def test_the_process_is_given_no_secret(tmp_path, monkeypatch):
    program = tmp_path / "python"
    program.write_text('#!/bin/sh\necho "secret: $AWS_SECRET_ACCESS_KEY$HF_TOKEN." >&2\nexit 1\n')
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary")
    monkeypatch.setenv("HF_TOKEN", "canary")
    with pytest.raises(ConversionError) as caught:
        convert_weights(tmp_path / "weights.pt", tmp_path / "weights.safetensors")
    assert caught.value.reason == "secret: ."


def test_a_clip_that_is_a_pickle_is_refused_with_what_to_do(tmp_path):
    weights = tmp_path / "open_clip_pytorch_model.bin"
    torch.save(TENSORS, weights)
    (tmp_path / "open_clip_config.json").write_text("{}")
    with pytest.raises(ModelReferenceError, match=f"segmill models pull file:{weights} converts"):
        load_clip(f"file:{weights}")
