from itertools import pairwise

import pytest
import torch

from vision.finetune import ConfigError, make_config
from vision.finetune.config import TrainConfig
from vision.finetune.hardware import Hardware, choose_preset, fill_in, known, this_machine


def gpu(free_gb, fast_bf16=True):
    return Hardware("cuda", free_gb, 16, fast_bf16)


CPU = Hardware("cpu", 16.0, 2, False)


@pytest.mark.parametrize(
    ("free_gb", "name"),
    [(7.4, "8 GB"), (3.0, "8 GB"), (15.2, "16 GB"), (22.8, "24 GB"), (47.0, "24 GB"),
     (78.9, "80 GB"), (139.0, "80 GB")],
)  # fmt: skip
def test_free_memory_decides(free_gb, name):
    assert choose_preset(gpu(free_gb)).name == name


def test_more_memory_never_asks_for_less():
    presets = [choose_preset(gpu(free)) for free in (8, 15, 23, 79)]

    for less, more in pairwise(presets):
        assert more.batch_images >= less.batch_images
        assert more.masks_per_image >= less.masks_per_image
        assert set(more.train) >= set(less.train)
    assert all(preset.batch_images * preset.accumulate == 8 for preset in presets)


def test_nothing_is_left_to_choose():
    for hardware in (CPU, gpu(8), gpu(80)):
        filled = fill_in(TrainConfig(), hardware, 1024)

        assert "auto" not in (filled.model_dump_json(exclude={"trackers"}))
        assert filled.data.image_size == 1024


def test_what_was_asked_for_is_kept():
    asked = make_config(
        {"data": {"batch_images": 3, "image_size": 256}, "model": {"train": ["neck"]},
         "precision": "fp32"}
    )  # fmt: skip

    filled = fill_in(asked, gpu(80), 1024)

    assert (filled.data.batch_images, filled.data.image_size) == (3, 256)
    assert filled.model.train == ("neck",)
    assert filled.precision == "fp32"


def test_adapters_leave_the_trunk_alone():
    asked = make_config({"model": {"lora_rank": 4}})

    assert "trunk" not in fill_in(asked, gpu(80), 1024).model.train


def test_16_bits_only_where_they_are_fast():
    assert fill_in(TrainConfig(), gpu(24), 1024).precision == "bf16"
    assert fill_in(TrainConfig(), gpu(24, fast_bf16=False), 1024).precision == "fp32"
    assert fill_in(TrainConfig(), CPU, 1024).precision == "fp32"


def test_this_machine_has_cores():
    found = this_machine("cpu")

    assert found.device == "cpu"
    assert found.cores >= 1
    assert found.free_gb > 0


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is an accelerator")
def test_an_accelerator_that_is_not_there_is_told():
    assert this_machine().device == "cpu"
    with pytest.raises(ConfigError, match="found cuda"):
        this_machine("cuda")


def test_settings_that_were_never_filled_in_are_refused():
    assert known(3) == 3
    with pytest.raises(ValueError, match="auto"):
        known("auto")
