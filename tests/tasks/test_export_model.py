"""Exported weights give the same masks in the programs that they are written for."""

import sys
from pathlib import Path

import pytest
import sam2.build_sam  # noqa: F401  (what `usage` calls)
import torch
from safetensors.torch import save_file

from tasks.export_model import TransformersMissingError, export_model
from tasks.exports.folder import OutputFolderError
from vision.models import DEMO_FOLDER
from vision.sam2.config import VIDEO_PREFIXES, build_model, load_model

POINTS, LABELS = torch.tensor([[[60.0, 70.0]]]), torch.ones(1, 1, dtype=torch.int32)


def pixels(model):
    return torch.randn(1, 3, model.image_size, model.image_size, generator=_generator())


def _generator():
    return torch.Generator().manual_seed(3)


@torch.inference_mode()
def logits(model, image):
    """Masks for a click, and their rated IoU, through the parts of `sam2`."""
    _, features, _, sizes = model._prepare_backbone_features(model.forward_image(image))
    features[-1] = features[-1] + model.no_mem_embed
    maps = [
        feature.permute(1, 2, 0).view(1, -1, *size)
        for feature, size in zip(features, sizes, strict=True)
    ]
    sparse, dense = model.sam_prompt_encoder(points=(POINTS, LABELS), boxes=None, masks=None)
    masks, rated, _, _ = model.sam_mask_decoder(
        image_embeddings=maps[-1],
        image_pe=model.sam_prompt_encoder.get_dense_pe(),
        sparse_prompt_embeddings=sparse,
        dense_prompt_embeddings=dense,
        multimask_output=True,
        repeat_image=False,
        high_res_features=maps[:-1],
    )
    return masks[0], rated[0]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> Path:
    """Weights in the shape of the released SAM 2.1 tiny, of images of 256 pixels."""
    torch.manual_seed(5)
    model = build_model("configs/sam2.1/sam2.1_hiera_t.yaml", 256)
    path = tmp_path_factory.mktemp("tiny") / "tiny.safetensors"
    save_file(model.state_dict(), path, {"image_size": "256"})
    return path


@pytest.mark.parametrize("which", ["demo", "tiny"])
def test_build_sam2_loads_a_checkpoint_strictly_and_gives_the_same_masks(which, tiny, tmp_path):
    source = DEMO_FOLDER / "sam2.safetensors" if which == "demo" else tiny
    done = export_model(str(tmp_path / "root"), f"file:{source}", "sam2-pt", tmp_path / "x.pt")
    content = torch.load(done.output, weights_only=True)
    assert content.keys() == {"model"}
    model, other = load_model(source), eval(done.usage)
    assert other.image_size == model.image_size == done.image_size_px
    image = pixels(model)
    for ours, theirs in zip(logits(model, image), logits(other, image), strict=True):
        assert torch.equal(ours, theirs)


def test_weights_without_video_are_completed_so_that_they_load_strictly(tmp_path):
    whole = load_model(DEMO_FOLDER / "sam2.safetensors").state_dict()
    part = {name: value for name, value in whole.items() if not name.startswith(VIDEO_PREFIXES)}
    assert len(part) < len(whole)
    save_file(part, tmp_path / "part.safetensors", {"image_size": "512"})
    done = export_model("unused", f"file:{tmp_path / 'part.safetensors'}", "sam2-pt",
                        tmp_path / "x.pt")  # fmt: skip
    assert torch.load(done.output, weights_only=True)["model"].keys() == whole.keys()
    eval(done.usage)


@pytest.mark.parametrize("which", ["demo", "tiny"])
def test_transformers_loads_a_folder_and_gives_the_same_masks(which, tiny, tmp_path):
    transformers = pytest.importorskip("transformers", minversion="5.3")
    source = DEMO_FOLDER / "sam2.safetensors" if which == "demo" else tiny
    done = export_model("unused", f"file:{source}", "hf", tmp_path / "hf")
    other = eval(done.usage, {"transformers": transformers}).eval()
    model = load_model(source)
    image = pixels(model)
    with torch.inference_mode():
        found = other(
            pixel_values=image,
            input_points=POINTS[None],
            input_labels=LABELS[None],
            multimask_output=True,
        )
    masks, rated = logits(model, image)
    torch.testing.assert_close(found.pred_masks[0, 0], masks, atol=1e-3, rtol=1e-4)
    torch.testing.assert_close(found.iou_scores[0, 0], rated, atol=1e-4, rtol=1e-4)
    processor = transformers.Sam2Processor.from_pretrained(done.output)
    assert processor.image_processor.size["height"] == model.image_size


def test_without_transformers_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(TransformersMissingError, match=r"segmill\[panoptic\]"):
        export_model("unused", "demo", "hf", tmp_path / "hf")
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_written_over(tmp_path):
    (tmp_path / "x.pt").write_text("mine")
    for form in ("sam2-pt", "hf"):
        with pytest.raises(OutputFolderError, match="is there already"):
            export_model("unused", "demo", form, tmp_path / "x.pt")
    assert (tmp_path / "x.pt").read_text() == "mine"
