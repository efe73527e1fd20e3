"""Settings of trainings that take seconds, and a gate that lets everything through."""

from pathlib import Path

SHORT = """
data: {image_size: 128, batch_images: 2, accumulate: 1, masks_per_image: 2, workers: 0}
prompts: {correction_clicks: 1}
ema: {decay: 0.5}
limits: {steps: 2}
validation: {pictures: 0, masks_per_image: 2}
checkpoints: {every_steps: 1}
trackers: {use_tensorboard: false}
"""
LENIENT = """
min_images: 2
resamples: 100
rules:
  - {metric: miou@1.centre, must: hold, tolerance: 1.0}
"""


def write_short_training(folder: Path, monkeypatch) -> None:
    """Let the trainings of this machine be short, and pass."""
    files = {"SEGMILL_TRAIN_CONFIG": ("short.yaml", SHORT), "SEGMILL_GATE": ("gate.yaml", LENIENT)}
    for variable, (name, text) in files.items():
        (folder / name).write_text(text)
        monkeypatch.setenv(variable, str(folder / name))
    monkeypatch.setenv("SEGMILL_TRAINING_FOLDER", str(folder / "training"))
