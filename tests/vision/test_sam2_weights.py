import pickle

import pytest
import torch
from safetensors.torch import save_file

from vision.sam2.config import build_model, demo_model, load_model, load_weights
from vision.sam2.embedding import embed_image
from vision.sam2.parameters import GeneratorParams
from vision.sam2.point_decoder import decode_points
from vision.sam2.weights import (
    DEMO_CONFIG,
    WeightsFileError,
    WeightsMismatchError,
    guess_config,
    read_image_size,
    read_tensors,
)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return demo_model(256)


@pytest.fixture
def weights(model, tmp_path):
    path = tmp_path / "demo.safetensors"
    save_file(model.state_dict(), path)
    return path


def without(model, prefix):
    return {k: v for k, v in model.state_dict().items() if not k.startswith(prefix)}


def test_the_demo_model_is_small(model):
    assert sum(p.numel() for p in model.parameters()) < 5_000_000


@pytest.mark.parametrize("image_size", [128, 256, 512, 640])
def test_the_same_weights_run_at_any_size(model, image_size):
    other = demo_model(image_size)
    other.load_state_dict(model.state_dict())
    rgb = torch.zeros(30, 40, 3, dtype=torch.uint8).numpy()

    with torch.inference_mode():
        [(points, logits, ious)] = decode_points(
            other,
            embed_image(other, rgb),
            torch.tensor([[3.0, 4.0], [5.0, 6.0]]),
            64,
            GeneratorParams(pred_iou_thresh=0.0),
        )

    assert points.tolist() == [[3, 4]] * 3 + [[5, 6]] * 3
    assert logits.shape == (6, image_size // 4, image_size // 4)
    assert ious.shape == (6,)
    assert bool(((ious >= 0) & (ious <= 1)).all())


@pytest.mark.parametrize("image_size", [0, -32, 500])
def test_sizes_the_encoder_cannot_cut_evenly_are_refused(image_size):
    with pytest.raises(ValueError, match="positive multiple of 32"):
        demo_model(image_size)


def test_weights_come_back_as_they_were_saved(model, weights):
    other = demo_model(128)
    load_weights(other, weights)

    assert all(torch.equal(v, other.state_dict()[k]) for k, v in model.state_dict().items())


def test_a_checkpoint_of_sam2_is_read_too(model, tmp_path):
    path = tmp_path / "checkpoint.pt"
    torch.save({"model": model.state_dict(), "epoch": 3}, path)

    loaded = load_model(path, image_size=128)

    assert loaded.image_size == 128
    assert torch.equal(loaded.no_mem_embed, model.no_mem_embed)


def test_weights_for_images_may_lack_what_video_needs_but_only_when_asked(model, tmp_path):
    path = tmp_path / "images-only.safetensors"
    save_file(without(model, ("memory_", "obj_ptr_proj.")), path)

    load_weights(demo_model(128), path, strict=False)
    with pytest.raises(WeightsMismatchError, match="missing") as caught:
        load_weights(demo_model(128), path)

    assert all(name.startswith(("memory_", "obj_ptr_proj.")) for name in caught.value.missing)


def test_weights_without_a_mask_decoder_are_refused(model, tmp_path):
    path = tmp_path / "encoder.safetensors"
    save_file(without(model, "sam_mask_decoder.transformer"), path)

    with pytest.raises(WeightsMismatchError, match=r"sam_mask_decoder\.transformer"):
        load_weights(demo_model(128), path, strict=False)


def test_case_143_weights_of_another_shape_or_name_are_refused(model, tmp_path):
    path = tmp_path / "other.safetensors"
    tensors = model.state_dict() | {"no_mem_embed": torch.zeros(1, 1, 3), "more": torch.zeros(1)}
    save_file(tensors, path)

    with pytest.raises(WeightsMismatchError) as caught:
        load_weights(demo_model(128), path)

    assert caught.value.unexpected == ["more", "no_mem_embed"]


def test_the_file_may_say_the_image_size(model, tmp_path):
    path = tmp_path / "sized.safetensors"
    save_file(model.state_dict(), path, metadata={"image_size": "256"})

    assert read_image_size(path) == 256
    assert load_model(path).image_size == 256
    assert load_model(path, image_size=128).image_size == 128


@pytest.mark.parametrize("said", [{}, {"image_size": "many"}, {"image_size": "²"}, {"other": "1"}])
def test_without_a_usable_size_the_configuration_decides(model, tmp_path, said):
    path = tmp_path / "unsized.safetensors"
    save_file(model.state_dict(), path, metadata=said)

    assert read_image_size(path) is None
    assert load_model(path).image_size == 512


def named(width, blocks, *more):
    names = [f"image_encoder.trunk.blocks.{i}.norm1.weight" for i in range(blocks)]
    patch = torch.empty(width, 3, 7, 7, device="meta")
    return {"image_encoder.trunk.patch_embed.proj.weight": patch} | dict.fromkeys(
        [*names, *more], torch.empty(0)
    )


@pytest.mark.parametrize(
    ("tensors", "config"),
    [
        (named(32, 7), str(DEMO_CONFIG)),
        (named(96, 12), "configs/sam2/sam2_hiera_t.yaml"),
        (named(96, 16), "configs/sam2/sam2_hiera_s.yaml"),
        (named(112, 24), "configs/sam2/sam2_hiera_b+.yaml"),
        (named(144, 48), "configs/sam2/sam2_hiera_l.yaml"),
        (named(96, 12, "no_obj_embed_spatial"), "configs/sam2.1/sam2.1_hiera_t.yaml"),
        (named(144, 48, "no_obj_embed_spatial"), "configs/sam2.1/sam2.1_hiera_l.yaml"),
    ],
)
def test_the_configuration_shows_in_the_shapes(tmp_path, tensors, config):
    assert guess_config(tmp_path, tensors) == config


@pytest.mark.parametrize("size", ["t", "s", "b+"])
def test_what_the_shapes_show_is_true_of_the_released_models(tmp_path, size):
    name = f"configs/sam2.1/sam2.1_hiera_{size}.yaml"

    assert guess_config(tmp_path, build_model(name, 256).state_dict()) == name


@pytest.mark.parametrize("tensors", [{}, {"weight": torch.zeros(1)}, named(7, 7)])
def test_weights_of_other_models_are_refused(tmp_path, tensors):
    with pytest.raises(WeightsFileError, match="image encoder"):
        guess_config(tmp_path / "x.safetensors", tensors)


class Payload:
    def __reduce__(self):
        return (print, ("code in a weights file ran",))


def test_case_141_code_in_a_checkpoint_does_not_run(tmp_path, capsys):
    path = tmp_path / "evil.pt"
    torch.save({"model": Payload()}, path)

    with pytest.raises(WeightsFileError, match="more than tensors"):
        read_tensors(path)

    assert "ran" not in capsys.readouterr().out


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not weights",
        bytes(100),
        # A header that promises more than there is, one that is cut off, and one that is no JSON.
        (90).to_bytes(8, "little") + b'{"w":{"dtype":"F32","shape":[9],"data_offsets":[0,36]}}',
        (2**60).to_bytes(8, "little") + b"{}",
        (2).to_bytes(8, "little") + b"[]",
    ],
)
def test_case_142_damaged_files_are_refused_by_name(tmp_path, suffix, content):
    path = tmp_path / f"broken{suffix}"
    path.write_bytes(content)

    with pytest.raises(WeightsFileError, match=r"broken\."):
        read_tensors(path)


def test_case_144_weights_that_are_not_finite_are_refused(model, tmp_path):
    path = tmp_path / "nan.safetensors"
    save_file(model.state_dict() | {"no_mem_embed": torch.full((1, 1, 64), torch.nan)}, path)

    with pytest.raises(WeightsFileError, match="no_mem_embed holds numbers that are not finite"):
        read_tensors(path)


def test_a_checkpoint_of_something_else_is_refused(tmp_path):
    path = tmp_path / "list.pt"
    path.write_bytes(pickle.dumps([1, 2], protocol=2))

    with pytest.raises(WeightsFileError):
        read_tensors(path)


def test_a_missing_file_is_said_to_be_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match="no weights file"):
        read_tensors(tmp_path / "nothing.safetensors")
