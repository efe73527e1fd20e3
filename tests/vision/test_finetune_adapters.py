"""Adapters (LoRA): learnt, merged, kept when a run is cut off."""

import pytest
import torch
from safetensors.torch import load_file

from tests.training import (
    picture,
    stop_after,
    tiny_base,
    tiny_settings,
    training_images,
    weights_sha256,
)
from vision.finetune import lora as lora_module
from vision.finetune.errors import MissingExtraError
from vision.finetune.lora import add_adapters, merged_state
from vision.finetune.run import finetune
from vision.sam2.embedding import embed_image


def test_adapters_learn_and_are_merged(tmp_path):
    config = tiny_settings(
        limits={"steps": 3}, model={"train": ["decoder"], "lora_rank": 4}, data={"val_share": 0.0}
    )
    base = tiny_base()

    result = finetune(config, training_images(), tmp_path, base=base)

    stored = load_file(result.weights)
    plain = tiny_base().model
    changed = {n for n, v in plain.state_dict().items() if not torch.equal(v, stored[n])}
    inside = {name for name in changed if not name.startswith("sam_mask_decoder.")}
    assert inside
    assert all(".attn.qkv." in name or ".attn.proj." in name for name in inside)
    plain.load_state_dict(stored, strict=True)


def test_merged_adapters_give_the_logits_of_unmerged_ones():
    base, plain = tiny_base(), tiny_base()
    add_adapters(base.model, 4, None, 0)
    for name, parameter in base.model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.3)
    rgb, _ = picture(2)
    with torch.no_grad():
        unmerged = embed_image(base.model.eval(), rgb).features
        untouched = embed_image(plain.model.eval(), rgb).features
        plain.model.load_state_dict(merged_state(base.model), strict=True)
        merged = embed_image(plain.model, rgb).features

    assert (unmerged - untouched).abs().max() > 0.01
    assert torch.allclose(merged, unmerged, atol=1e-4)


def test_adapters_of_a_run_that_was_stopped_come_back(tmp_path):
    config = tiny_settings(limits={"steps": 3}, model={"train": ["decoder"], "lora_rank": 2})
    whole = finetune(config, training_images(), tmp_path / "whole", base=tiny_base())
    stopped = tmp_path / "stopped"
    finetune(config, training_images(), stopped, base=tiny_base(), should_stop=stop_after(2))

    assert weights_sha256(
        finetune(config, training_images(), stopped, base=tiny_base())
    ) == weights_sha256(whole)


def test_adapters_without_peft_are_told_to_be_installed(monkeypatch):
    monkeypatch.setattr(lora_module, "find_spec", lambda name: None)

    with pytest.raises(MissingExtraError, match=r"model.lora_rank needs peft.*segmill\[lora\]"):
        add_adapters(tiny_base().model, 4, None, 0)
