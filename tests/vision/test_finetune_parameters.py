import pytest
import torch

from tests.training import tiny_base
from vision.finetune.average import Average
from vision.finetune.config import OptimizerSection
from vision.finetune.parameters import (
    choose_parameters,
    learning_rate,
    parameter_groups,
    rate_factor,
)

SETTINGS = OptimizerSection(lr=1e-4, encoder_lr=1e-5, layer_decay=0.5, weight_decay=0.1)
ALL = ("decoder", "prompt_encoder", "neck", "trunk")


@pytest.fixture(scope="module")
def model():
    return tiny_base().model


def test_only_chosen_parts_learn(model):
    chosen = choose_parameters(model, ("decoder", "neck"))

    assert {name.split(".")[0] for name in chosen} == {"sam_mask_decoder", "image_encoder"}
    assert not any("trunk" in name for name in chosen)
    for name, parameter in model.named_parameters():
        assert parameter.requires_grad == (name in chosen)


def test_what_only_video_uses_never_learns(model):
    assert not any(
        name.startswith(("memory_", "obj_ptr")) for name in choose_parameters(model, ALL)
    )


@pytest.mark.parametrize(
    ("name", "rate"),
    [
        ("sam_mask_decoder.iou_token.weight", 1e-4),
        ("sam_prompt_encoder.no_mask_embed.weight", 1e-4),
        ("image_encoder.neck.convs.0.conv.weight", 1e-5),
        # Five blocks: the last one is one step below the full rate, the patches are six.
        ("image_encoder.trunk.blocks.4.mlp.layers.0.weight", 1e-5 * 0.5),
        ("image_encoder.trunk.blocks.0.attn.qkv.weight", 1e-5 * 0.5**5),
        ("image_encoder.trunk.patch_embed.proj.weight", 1e-5 * 0.5**6),
        ("image_encoder.trunk.pos_embed", 1e-5),
    ],
)
def test_rates_fall_down_the_trunk_as_in_sam2(model, name, rate):
    assert name in dict(model.named_parameters())
    assert learning_rate(model, name, SETTINGS) == pytest.approx(rate)


def test_groups_hold_each_parameter_once_and_spare_biases_and_norms(model):
    chosen = choose_parameters(model, ALL)
    groups = parameter_groups(model, chosen, SETTINGS)

    names = [name for group in groups for name in group["names"]]
    assert sorted(names) == sorted(chosen)
    plain = {name for g in groups if g["weight_decay"] == 0 for name in g["names"]}
    assert "sam_mask_decoder.iou_prediction_head.layers.0.bias" in plain
    assert "image_encoder.trunk.blocks.0.norm1.weight" in plain
    assert "sam_mask_decoder.output_upscaling.1.weight" in plain  # LayerNorm2d
    assert "image_encoder.trunk.pos_embed" not in plain
    assert "sam_mask_decoder.iou_token.weight" not in plain
    for group in groups:
        for name, parameter in zip(group["names"], group["params"], strict=True):
            assert chosen[name] is parameter


def test_rates_rise_then_fall_along_a_cosine():
    settings = OptimizerSection(warmup_steps=3, final_lr_share=0.1)

    assert [rate_factor(0.0, step, settings) for step in range(5)] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert rate_factor(0.5, 99, settings) == pytest.approx(0.55)
    assert rate_factor(1.0, 99, settings) == pytest.approx(0.1)
    assert rate_factor(7.0, 99, settings) == pytest.approx(0.1)


def test_the_average_follows_and_is_put_in_place_for_a_while():
    weight = torch.nn.Parameter(torch.zeros(3))
    average = Average({"w": weight}, 0.5)
    for step, value in enumerate((1.0, 2.0, 4.0)):
        with torch.no_grad():
            weight.fill_(value)
        average.update(step)

    # Decays are 1/10, 2/11, 3/12.
    first = 0.9
    second = first * 2 / 11 + 2 * 9 / 11
    third = second * 0.25 + 4 * 0.75
    assert average.tensors["w"][0].item() == pytest.approx(third)
    with average.applied():
        assert weight[0].item() == pytest.approx(third)
    assert weight[0].item() == 4.0


def test_no_decay_is_no_average():
    weight = torch.nn.Parameter(torch.zeros(3))
    average = Average({"w": weight}, 0.0)
    with torch.no_grad():
        weight.fill_(3.0)
    average.update(100)

    assert average.tensors["w"].tolist() == [3, 3, 3]
