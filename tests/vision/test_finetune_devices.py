"""Two processes on one run, as `torchrun` or `accelerate launch` start them."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

RUN = """
import sys
from pathlib import Path
from tests.training import tiny_base, tiny_settings, training_image
from vision.finetune.run import finetune

still = {name: 0.0 for name in ("flip", "crop", "brightness", "contrast", "saturation", "gray",
                                "scan_noise")}
config = tiny_settings(
    limits={"steps": 3},
    data={"batch_images": int(sys.argv[2]), "val_share": 0.3},
    prompts={"point": 0.0, "box": 1.0, "box_noise": 0.0, "correction_clicks": 0},
    augmentation=still,
)
images = [training_image(seed) for seed in range(7)]
finetune(config, images, Path(sys.argv[1]), base=tiny_base())
"""


def start(folder, batch_images, **environment):
    environment = os.environ | {"PYTHONPATH": str(Path.cwd())} | environment
    return subprocess.Popen(
        [sys.executable, "-c", RUN, str(folder), str(batch_images)],
        env=environment, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@pytest.mark.slow
@pytest.mark.sweep
def test_two_processes_learn_what_one_does(tmp_path):
    port = str(free_port())
    alone = start(tmp_path / "alone", 4)
    both = [
        start(tmp_path / "both", 2, RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE="2",
              LOCAL_WORLD_SIZE="2", MASTER_ADDR="127.0.0.1", MASTER_PORT=port,
              ACCELERATE_USE_CPU="true")
        for rank in range(2)
    ]  # fmt: skip
    for process in (alone, *both):
        _, errors = process.communicate()
        assert process.returncode == 0, errors

    one, two = (load_file(tmp_path / name / "model.safetensors") for name in ("alone", "both"))
    for name, value in one.items():
        assert torch.allclose(two[name], value, atol=2e-3), name
    told = [json.loads((tmp_path / name / "manifest.json").read_bytes())["training"]
            for name in ("alone", "both")]  # fmt: skip
    assert told[0]["steps"] == told[1]["steps"] == 3
    assert told[0]["start_miou"] == pytest.approx(told[1]["start_miou"], abs=1e-3)
