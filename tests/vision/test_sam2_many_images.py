"""Several images at once: the same masks as one by one, and fewer where memory is short."""

import shutil

import numpy as np
import pytest
import torch

from vision.masks import rle_to_mask
from vision.sam2 import generator as module
from vision.sam2 import load_segmenter, preset
from vision.sam2.config import demo_model
from vision.sam2.embedding import embed_image, embed_images
from vision.sam2.generator import AutomaticMaskGenerator

ONE = preset(
    "sam2",
    points_per_side=3,
    pred_iou_thresh=0.0,
    stability_score_thresh=0.0,
    box_nms_thresh=1.0,
    crop_n_layers=1,
)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(4)
    return demo_model(128)


@pytest.fixture(scope="module")
def images():
    rng = np.random.default_rng(6)
    shapes = [(40, 60), (60, 40), (33, 33), (8, 90), (50, 50)]
    return [rng.integers(0, 256, (*shape, 3), dtype=np.uint8) for shape in shapes]


@torch.inference_mode()
def test_each_image_has_the_embedding_that_it_has_alone(model, images):
    together = embed_images(model, images)
    for rgb, found in zip(images, together, strict=True):
        alone = embed_image(model, rgb)
        assert (found.height_px, found.width_px) == rgb.shape[:2]
        torch.testing.assert_close(found.features, alone.features, rtol=1e-4, atol=1e-4)
        for ours, theirs in zip(found.high_res_features, alone.high_res_features, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("images_per_batch", [1, 2, 7])
def test_each_image_has_the_masks_that_it_has_alone(model, images, images_per_batch):
    generator = AutomaticMaskGenerator(model, ONE)
    alone = [generator.segment(rgb) for rgb in images]
    generator.images_per_batch = images_per_batch
    together = generator.segment_many(images)
    assert [len(masks) for masks in together] == [len(masks) for masks in alone]
    for rgb, ours, theirs in zip(images, together, alone, strict=True):
        for one, other in zip(ours, theirs, strict=True):
            same = rle_to_mask(one.rle, *rgb.shape[:2]) == rle_to_mask(other.rle, *rgb.shape[:2])
            assert same.mean() > 0.99


def test_no_images_have_no_masks(model):
    assert AutomaticMaskGenerator(model, ONE).segment_many([]) == []


def test_where_memory_is_short_fewer_images_are_encoded_at_once(model, images, monkeypatch, caplog):
    def short_of_memory(model, parts, fast):
        if len(parts) > 1:
            raise torch.OutOfMemoryError
        return embed_images(model, parts, fast)

    generator = AutomaticMaskGenerator(model, ONE)
    expected = [generator.segment(rgb) for rgb in images]
    monkeypatch.setattr(module, "embed_images", short_of_memory)
    generator.images_per_batch = 5
    assert generator.segment_many(images) == expected
    assert generator.images_per_batch == 1
    assert "from now on 2 images encoded" in caplog.text


def test_a_memory_too_small_for_one_image_is_told(model, images, monkeypatch):
    def no_memory(model, parts, fast):
        raise torch.OutOfMemoryError

    monkeypatch.setattr(module, "embed_images", no_memory)
    with pytest.raises(torch.OutOfMemoryError):
        AutomaticMaskGenerator(model, ONE).segment_many(images)


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("g++"), reason="torch.compile needs a C++ compiler")
@pytest.mark.filterwarnings("ignore")
def test_a_compiled_encoder_gives_the_same_embedding_and_is_kept(tmp_path, monkeypatch, images):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR", raising=False)
    plain, compiled = load_segmenter("demo"), load_segmenter("demo", compiled=True)
    with torch.inference_mode():
        expected = embed_image(plain.model, images[0])
        found = embed_image(compiled.model, images[0])
    torch.testing.assert_close(found.features, expected.features, rtol=1e-3, atol=1e-3)
    assert list((tmp_path / "segmill" / "inductor").rglob("*.so"))
