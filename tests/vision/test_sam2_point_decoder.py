import numpy as np
import pytest
import torch

from vision.sam2.config import demo_model
from vision.sam2.embedding import embed_image
from vision.sam2.parameters import GeneratorParams
from vision.sam2.point_decoder import decode_points

SIZE = 128


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(5)
    return demo_model(SIZE)


@pytest.fixture(scope="module")
def embedding(model):
    rgb = np.random.default_rng(1).integers(0, 256, (90, 70, 3), dtype=np.uint8)
    with torch.inference_mode():
        return embed_image(model, rgb)


POINTS = torch.tensor([[1.0, 2.0], [69.5, 89.5], [35.0, 40.0], [12.0, 80.0], [60.0, 5.0]])


@torch.inference_mode()
def masks_of_sam2(model, embedding, points_xy):
    coordinates = points_xy / torch.tensor([70.0, 90.0]) * SIZE
    labels = torch.ones(len(points_xy), 1, dtype=torch.int32)
    sparse, dense = model.sam_prompt_encoder(
        points=(coordinates[:, None], labels), boxes=None, masks=None
    )
    logits, ious, _, _ = model.sam_mask_decoder(
        image_embeddings=embedding.features,
        image_pe=embedding.positions,
        sparse_prompt_embeddings=sparse,
        dense_prompt_embeddings=dense,
        multimask_output=True,
        repeat_image=True,
        high_res_features=embedding.high_res_features,
    )
    return logits, ious


@torch.inference_mode()
def decode(model, embedding, points_xy, **options):
    params = GeneratorParams(**({"pred_iou_thresh": 0.0} | options))
    parts = list(decode_points(model, embedding, points_xy, 2, params))
    return [torch.cat(column) for column in zip(*parts, strict=True)]


def test_logits_and_ious_are_those_of_sam2s_decoder(model, embedding):
    logits, ious = masks_of_sam2(model, embedding, POINTS)
    points, ours, our_ious = decode(model, embedding, POINTS)
    torch.testing.assert_close(ours, logits.flatten(0, 1), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(our_ious, ious.flatten(), rtol=1e-5, atol=1e-6)
    assert torch.equal(points, POINTS.repeat_interleave(3, 0))


def test_masks_below_the_threshold_are_left_out_and_the_others_unchanged(model, embedding):
    points, logits, ious = decode(model, embedding, POINTS)
    threshold = float(ious.median())
    kept = ious > threshold
    assert 0 < int(kept.sum()) < len(ious)
    some_points, some_logits, some_ious = decode(
        model, embedding, POINTS, pred_iou_thresh=threshold
    )
    assert torch.equal(some_points, points[kept])
    torch.testing.assert_close(some_ious, ious[kept])
    torch.testing.assert_close(some_logits, logits[kept], rtol=1e-4, atol=1e-4)


def test_a_threshold_that_none_passes_leaves_nothing(model, embedding):
    points, logits, ious = decode(model, embedding, POINTS, pred_iou_thresh=1.0)
    assert points.shape == (0, 2)
    assert logits.shape == (0, SIZE // 4, SIZE // 4)
    assert ious.shape == (0,)
