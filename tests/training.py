"""A SAM 2 and pictures small enough to train in tests."""

import hashlib
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import torch

from vision.finetune import TrainingImage, make_config
from vision.finetune.base_model import BaseModel
from vision.masks import mask_to_rle
from vision.sam2.config import build_model

TINY_CONFIG = Path(__file__).with_name("tiny_sam2.yaml")
SIZE = 64


def tiny_base(seed=0):
    """A model of 0.4 M parameters that has learnt nothing."""
    torch.manual_seed(seed)
    return BaseModel(build_model(TINY_CONFIG, SIZE), str(TINY_CONFIG), "tiny-000000000000")


def picture(seed, height=96, width=128):
    """A picture with some shapes on it: RGB, and the masks of the shapes."""
    random = np.random.default_rng([seed, 17])
    rgb = np.full((height, width, 3), random.integers(180, 256, 3), np.uint8)
    shapes = []
    for number in range(3):
        mask = np.zeros((height, width), np.uint8)
        middle = (int(width * (0.2 + 0.3 * number)), int(random.integers(30, height - 30)))
        axes = (int(random.integers(9, 17)), int(random.integers(12, 26)))
        if number % 2:
            cv2.ellipse(mask, middle, axes, float(random.uniform(0, 90)), 0, 360, 1, -1)
        else:
            corner = (middle[0] - axes[0], middle[1] - axes[1])
            cv2.rectangle(mask, corner, (middle[0] + axes[0], middle[1] + axes[1]), 1, -1)
        for other in shapes:
            other &= mask == 0
        shapes.append(mask.astype(bool))
        rgb[mask != 0] = random.integers(0, 120, 3)
    return rgb, shapes


def training_image(seed, **changes):
    """A picture to learn from."""
    rgb, shapes = picture(seed)
    facts = {
        "image_id": f"picture-{seed}",
        "pixels": partial(np.asarray, rgb),  # which processes that read images can be sent
        "height_px": rgb.shape[0],
        "width_px": rgb.shape[1],
        "rles": tuple(mask_to_rle(mask) for mask in shapes),
        "labels": ("box", "egg", "box"),
    }
    return TrainingImage(**facts | changes)


def tiny_settings(**sections):
    """Settings that make a run of seconds; each section adds to or replaces what is here."""
    tree = {
        "data": {
            "image_size": SIZE,
            "batch_images": 2,
            "accumulate": 1,
            "masks_per_image": 2,
            "mask_stride_px": 2,
            "workers": 0,
            "val_share": 0.25,
        },
        "model": {"train": ["decoder", "prompt_encoder", "neck", "trunk"]},
        "prompts": {"correction_clicks": 1},
        "optimizer": {"lr": 1e-3, "encoder_lr": 1e-3, "warmup_steps": 2, "clip_norm": 1.0},
        "ema": {"decay": 0.9},
        "limits": {"epochs": None, "steps": 6},
        "validation": {"pictures": 0},
        "trackers": {"use_tensorboard": False},
    }
    for name, values in sections.items():
        tree[name] = tree.get(name, {}) | values if isinstance(values, dict) else values
    return make_config(tree)


def training_images(count=6, **changes):
    """Pictures to learn from."""
    return [training_image(seed, **changes) for seed in range(count)]


def weights_sha256(result):
    """Of the weights that a run ended with."""
    return hashlib.sha256(result.weights.read_bytes()).hexdigest()


def stop_after(steps):
    """Says after so many questions that training should stop."""
    left = iter([False] * steps + [True])
    return lambda: next(left)
