import hashlib
import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, safe_open
from sam2.build_sam import build_sam2

from tests.training import (
    picture,
    stop_after,
    tiny_base,
    tiny_settings,
    training_image,
    training_images,
    weights_sha256,
)
from vision.finetune import ConfigError, NonFiniteLossError, TrainingDataError
from vision.finetune.base_model import load_base_model
from vision.finetune.errors import FolderInUseError, OtherRunError
from vision.finetune.run import finetune
from vision.finetune.run_folder import locked
from vision.models import resolve_model
from vision.sam2.config import load_model
from vision.sam2.embedding import embed_image


def manifest(result):
    return json.loads((result.folder / "manifest.json").read_bytes())


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run of six steps that nothing disturbed."""
    reports = []
    folder = tmp_path_factory.mktemp("finished")
    result = finetune(
        tiny_settings(), training_images(), folder, base=tiny_base(), on_step=reports.append
    )
    return result, reports


@pytest.mark.slow
def test_training_on_a_few_pictures_learns_them(tmp_path):
    """The demo model at 128 px on two pictures; the same two, under other names, validate."""
    shown = [training_image(seed, split="train") for seed in range(2)]
    asked = [training_image(seed, image_id=f"v{seed}", split="val") for seed in range(2)]
    config = tiny_settings(
        model={"base": "demo"},
        data={"image_size": 128},
        limits={"steps": 16},
        optimizer={"lr": 3e-4, "encoder_lr": 3e-4},
        prompts={"point": 1.0, "box": 0.0, "correction_clicks": 0},
        augmentation={"flip": 0.0, "crop": 0.0, "scan_noise": 0.0},
        validation={"every_epochs": 16},
    )

    result = finetune(config, shown + asked, tmp_path)

    assert result.best_miou > result.start_miou + 0.2
    assert result.best_miou > 0.7
    # The model is of a known kind, and its reference works as any other's does.
    source = resolve_model(f"file:{tmp_path}")
    model = load_model(source.path)
    assert model.image_size == 128
    stored = load_file(result.weights)
    assert all(torch.equal(value, stored[name]) for name, value in model.state_dict().items())


def test_the_model_loads_strictly_with_sam2_and_gives_the_same_logits(finished, tmp_path):
    result, _ = finished
    base = tiny_base()
    again = finetune(tiny_settings(), training_images(), tmp_path, base=base)
    built = build_sam2(f"/{result.folder / 'sam2.yaml'}", device="cpu", apply_postprocessing=False)

    built.load_state_dict(load_file(result.weights), strict=True)

    assert again.weights.read_bytes() == result.weights.read_bytes()
    assert built.image_size == base.model.image_size
    rgb, _ = picture(1)
    with torch.no_grad():
        ours, theirs = (embed_image(m.eval(), rgb).features for m in (base.model, built))
    assert torch.equal(ours, theirs)
    with safe_open(result.weights, "pt") as file:
        assert file.metadata() == {"image_size": str(base.model.image_size)}


def test_a_run_tells_how_it_goes(finished):
    result, reports = finished

    assert [report.step for report in reports] == [1, 2, 3, 4, 5, 6]
    assert all(report.steps == 6 and math.isfinite(report.loss) for report in reports)
    assert all(report.images_per_second > 0 for report in reports)
    assert (result.ending, result.steps, result.skipped) == ("all steps", 6, {})
    assert 0 <= result.start_miou <= 1
    assert result.best_miou >= result.start_miou


def test_the_manifest_tells_what_the_model_was_made_of(finished):
    result, _ = finished
    told = manifest(result)

    for name, entry in told["files"].items():
        assert hashlib.sha256((result.folder / name).read_bytes()).hexdigest() == entry["sha256"]
    assert set(told["files"]) == {"model.safetensors", "sam2.yaml", "config.json"}
    assert told["base_model"] == "tiny-000000000000"
    assert told["data"]["masks"] == 18
    assert told["data"]["labels"] == {"box": 12, "egg": 6}
    assert told["data"]["train_images"] + told["data"]["val_images"] == 6
    assert told["training"]["steps"] == 6
    assert json.loads((result.folder / "config.json").read_bytes())["data"]["batch_images"] == 2


def test_a_finished_run_is_not_done_again(finished):
    result, _ = finished
    reports = []

    again = finetune(
        tiny_settings(), training_images(), result.folder, base=tiny_base(), on_step=reports.append
    )

    assert again == result
    assert reports == []


@pytest.mark.parametrize("stops", [[0], [1], [2, 5], [4]])
def test_a_run_that_was_stopped_goes_on_as_if_it_had_not_been(finished, tmp_path, stops):
    whole, _ = finished
    done = 0
    for stop in stops:
        part = finetune(
            tiny_settings(),
            training_images(),
            tmp_path,
            base=tiny_base(),
            should_stop=stop_after(stop - done),
        )
        assert (part.ending, part.steps, part.weights) == ("asked to stop", stop, None)
        done = stop

    result = finetune(tiny_settings(), training_images(), tmp_path, base=tiny_base())

    assert weights_sha256(result) == weights_sha256(whole)
    assert result.best_miou == whole.best_miou


def test_another_seed_is_another_model(finished, tmp_path):
    other = finetune(tiny_settings(seed=8), training_images(), tmp_path, base=tiny_base())

    assert weights_sha256(other) != weights_sha256(finished[0])


def test_a_folder_belongs_to_one_run(finished):
    folder = finished[0].folder

    with pytest.raises(OtherRunError, match=r"optimizer.lr was 0.001 and is 0.002"):
        finetune(tiny_settings(optimizer={"lr": 2e-3}), training_images(), folder, base=tiny_base())
    with pytest.raises(OtherRunError, match="the images or masks are others"):
        finetune(tiny_settings(), training_images(5), folder, base=tiny_base())
    other = replace(tiny_base(), model_id="other-000000000000")
    with pytest.raises(OtherRunError, match="the model was tiny-000000000000 and is other"):
        finetune(tiny_settings(), training_images(), folder, base=other)


def test_a_run_can_be_made_longer(finished, tmp_path):
    first = finetune(
        tiny_settings(limits={"steps": 2}), training_images(), tmp_path, base=tiny_base()
    )
    second = finetune(
        tiny_settings(limits={"steps": 4}), training_images(), tmp_path, base=tiny_base()
    )

    assert (first.steps, second.steps) == (2, 4)


def test_a_run_can_be_done_afresh(tmp_path):
    first = finetune(
        tiny_settings(limits={"steps": 2}), training_images(), tmp_path, base=tiny_base()
    )
    other = tiny_settings(limits={"steps": 2}, seed=9)

    second = finetune(other, training_images(), tmp_path, base=tiny_base(), resume=False)

    assert second.steps == 2
    assert first.weights == second.weights
    assert manifest(second)["seed"] == 9


def test_one_process_trains_in_a_folder(tmp_path):
    with locked(tmp_path), pytest.raises(FolderInUseError, match="another process is training"):
        finetune(tiny_settings(), training_images(), tmp_path, base=tiny_base())


def test_a_loss_that_is_no_number_stops_the_run_and_names_the_images(tmp_path):
    config = tiny_settings(
        limits={"steps": 4}, checkpoints={"every_steps": 1}, data={"val_share": 0.0}
    )
    finetune(config, training_images(), tmp_path, base=tiny_base(), should_stop=stop_after(2))
    base = tiny_base()
    checkpoint = tmp_path / "checkpoints" / "step-000000002"
    kept = {path.name: path.read_bytes() for path in checkpoint.iterdir()}
    base.model.no_mem_embed.data[:] = math.nan  # it does not learn, so no checkpoint brings it back

    with pytest.raises(NonFiniteLossError, match="picture-") as error:
        finetune(config, training_images(), tmp_path, base=base)

    assert error.value.step == 2
    assert len(error.value.image_ids) == 2
    assert {path.name: path.read_bytes() for path in checkpoint.iterdir()} == kept
    assert not (tmp_path / "model.safetensors").exists()


def test_images_that_cannot_be_used_are_reported_by_name(tmp_path):
    def broken():
        raise OSError("a scratch")

    data = training_images()
    data[0] = replace(data[0], pixels=broken, split="val")
    data[1] = replace(data[1], pixels=lambda: np.zeros((9, 9, 3), np.uint8), split="train")
    data[2] = replace(data[2], rles=(b"3", *data[2].rles[1:]), split="val")
    data[3:] = [replace(image, split="train") for image in data[3:]]

    result = finetune(tiny_settings(limits={"steps": 4}), data, tmp_path, base=tiny_base())

    assert result.ending == "all steps"
    assert sorted(result.skipped) == ["picture-0", "picture-1", "picture-2"]
    assert "a scratch" in result.skipped["picture-0"]
    assert "(9, 9, 3)" in result.skipped["picture-1"]
    assert manifest(result)["training"]["skipped"] == result.skipped


def test_validation_images_that_are_all_broken_are_told(tmp_path):
    data = [replace(image, split="train") for image in training_images(3)]
    data.append(training_image(9, split="val", rles=(b"3",), labels=()))

    with pytest.raises(TrainingDataError, match="no image for validation can be used; picture-9"):
        finetune(tiny_settings(), data, tmp_path, base=tiny_base())


def test_without_validation_the_last_weights_are_kept(tmp_path):
    config = tiny_settings(limits={"steps": 2}, data={"val_share": 0.0})

    result = finetune(config, training_images(), tmp_path, base=tiny_base())

    assert (result.start_miou, result.best_miou, result.best_step) == (None, None, None)
    assert any("no validation" in note for note in result.notes)


def test_training_ends_when_nothing_is_gained(tmp_path):
    config = tiny_settings(
        limits={"steps": 50},
        optimizer={"lr": 1e-12, "encoder_lr": 1e-12},
        early_stopping={"patience_epochs": 2},
    )

    result = finetune(config, training_images(4), tmp_path, base=tiny_base())

    assert result.ending == "no more gain"
    assert result.steps == 4
    assert result.best_step == 0


def test_training_ends_when_its_time_is_up(tmp_path):
    config = tiny_settings(limits={"steps": 10_000, "minutes": 1e-3})

    result = finetune(config, training_images(), tmp_path, base=tiny_base())

    assert result.ending == "time is up"
    assert result.weights.exists()


def test_what_does_not_learn_stays_as_it_was(tmp_path):
    config = tiny_settings(
        limits={"steps": 2}, model={"train": ["decoder"]}, data={"val_share": 0.0}
    )

    stored = load_file(finetune(config, training_images(), tmp_path, base=tiny_base()).weights)

    changed = {
        name for name, value in tiny_base().model.state_dict().items()
        if not torch.equal(value, stored[name])
    }  # fmt: skip
    assert changed
    assert all(name.startswith("sam_mask_decoder.") for name in changed)


def test_several_batches_of_a_step_count_as_one(tmp_path):
    """With prompts that leave nothing to chance, four images at once are two and two."""
    still = {"flip": 0.0, "crop": 0.0, "brightness": 0.0, "contrast": 0.0, "saturation": 0.0,
             "gray": 0.0, "scan_noise": 0.0}  # fmt: skip
    weights = []
    for batch, accumulate in ((4, 1), (2, 2), (1, 4)):
        config = tiny_settings(
            limits={"steps": 1},
            data={"batch_images": batch, "accumulate": accumulate, "val_share": 0.0},
            prompts={"point": 0.0, "box": 1.0, "box_noise": 0.0, "correction_clicks": 0},
            augmentation=still,
            optimizer={"warmup_steps": 0},
            ema={"decay": 0.0},
        )
        data = training_images()
        data[0] = replace(data[0], rles=data[0].rles[:1])
        folder = tmp_path / str(batch)
        finetune(config, data, folder, base=tiny_base())
        weights.append(load_file(folder / "checkpoints/step-000000001/first_moments.safetensors"))

    for other in weights[1:]:
        for name, value in weights[0].items():
            assert torch.allclose(other[name], value, rtol=1e-3, atol=1e-6), name


@pytest.mark.parametrize("kind", ["point", "box", "mask"])
def test_each_kind_of_first_prompt_can_be_taught(tmp_path, kind):
    prompts = {"point": 0.0, "box": 0.0, "mask": 0.0, "correction_clicks": 2} | {kind: 1.0}
    config = tiny_settings(limits={"steps": 1}, prompts=prompts, data={"val_share": 0.0})

    result = finetune(config, training_images(2), tmp_path, base=tiny_base())

    assert result.steps == 1


def test_16_bits(tmp_path):
    config = tiny_settings(limits={"steps": 2}, precision="bf16")

    result = finetune(config, training_images(), tmp_path, base=tiny_base())

    assert all(value.dtype == torch.float32 for value in load_file(result.weights).values())


def test_a_model_of_another_size_is_told(tmp_path):
    config = tiny_settings(data={"image_size": 128})

    with pytest.raises(ConfigError, match=r"data.image_size: found 128, but the model is for 64"):
        finetune(config, training_images(), tmp_path, base=tiny_base())


def test_the_demo_model_is_the_default(tmp_path):
    base = load_base_model("demo", None, 0)

    assert base.model_id.startswith("demo-")
    assert base.model.image_size == 512
