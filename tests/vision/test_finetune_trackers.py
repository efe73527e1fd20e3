"""Where a training's numbers and pictures are followed."""

import pytest

from tests.training import tiny_base, tiny_settings, training_images
from vision.finetune.errors import MissingExtraError
from vision.finetune.run import finetune


@pytest.mark.parametrize(("setting", "package"), [("use_wandb", "wandb"), ("use_mlflow", "mlflow")])
def test_trackers_that_are_not_installed_are_told(tmp_path, monkeypatch, setting, package):
    monkeypatch.setattr("vision.finetune.trackers.find_spec", lambda name: None)

    with pytest.raises(MissingExtraError, match=rf"{package}: pip install 'segmill\[tracking\]'"):
        finetune(
            tiny_settings(trackers={setting: True}), training_images(), tmp_path, base=tiny_base()
        )


def test_tensorboard_gets_losses_and_pictures(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    config = tiny_settings(
        limits={"steps": 2}, trackers={"use_tensorboard": True}, validation={"pictures": 1}
    )

    finetune(config, training_images(), tmp_path, base=tiny_base())

    log = EventAccumulator(str(next(tmp_path.glob("logs/*/events*")).parent)).Reload()
    assert {"loss/total", "learning_rate", "validation/miou"} <= set(log.Tags()["scalars"])
    assert [event.step for event in log.Scalars("loss/total")] == [1, 2]
    assert log.Tags()["images"] == ["validation/0"]
    assert list(tmp_path.glob("pictures/step-*.png"))
