"""Losses against a straightforward reading of SAM 2's definitions, and worked examples."""

import math

import pytest
import torch
from torch.nn.functional import interpolate

from vision.finetune import mask_losses
from vision.finetune.config import LossesSection
from vision.finetune.losses import click_losses
from vision.finetune.mask_losses import compare_masks


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def logits_and_truth(count=5, masks=3, side=8, scale=4, seed=0, dtype=torch.float64):
    generator = seeded(seed)
    logits = 3 * torch.randn(count, masks, side, side, generator=generator, dtype=dtype)
    truth = torch.rand(count, scale * side, scale * side, generator=generator) < 0.3
    return logits, truth


def probabilities(logits, truth):
    large = interpolate(logits, truth.shape[-2:], mode="bilinear", align_corners=False)
    return large, 1 / (1 + torch.exp(-large))


def focal_of(p, t, alpha=0.25, gamma=2.0):
    """Lin et al., Focal Loss for Dense Object Detection, equation 5; mean over the pixels."""
    right = torch.where(t, p, 1 - p)
    weight = torch.where(t, alpha, 1 - alpha)
    return (-weight * (1 - right) ** gamma * torch.log(right)).mean((-1, -2))


def dice_of(p, t):
    """1 - (2 |P and T| + 1) / (|P| + |T| + 1)."""
    t = t.to(p.dtype)
    return 1 - (2 * (p * t).sum((-1, -2)) + 1) / (p.sum((-1, -2)) + t.sum((-1, -2)) + 1)


def iou_of(large, t):
    found = large > 0
    union = (found | t).sum((-1, -2))
    return (found & t).sum((-1, -2)) / union.clamp(min=1)


def reference(logits, rated, object_logits, truth, objects, weights):
    """One object after the other, one mask after the other."""
    sums = [0.0, 0.0, 0.0, 0.0]
    for i in range(len(logits)):
        large, p = probabilities(logits[i : i + 1], truth)
        t = truth[i]
        focal = [focal_of(p[0, m], t, weights.focal_alpha, weights.focal_gamma)
                 for m in range(logits.shape[1])]  # fmt: skip
        dice = [dice_of(p[0, m], t) for m in range(logits.shape[1])]
        cost = [
            weights.mask * f.item() + weights.dice * d.item()
            for f, d in zip(focal, dice, strict=True)
        ]
        best = cost.index(min(cost))
        errors = [abs(rated[i, m] - iou_of(large[0, m], t)) for m in range(logits.shape[1])]
        there = bool(t.any())
        score = torch.sigmoid(object_logits[i, 0])
        sums[3] = sums[3] - torch.log(score if there else 1 - score) / objects
        if there:
            sums[0] = sums[0] + focal[best] / objects
            sums[1] = sums[1] + dice[best] / objects
            sums[2] = sums[2] + sum(errors) / len(errors) / objects
    return sums


@pytest.mark.parametrize("masks", [1, 3])
@pytest.mark.parametrize(
    "weights",
    [LossesSection(), LossesSection(mask=5.0, dice=2.0, focal_alpha=0.4, focal_gamma=1.5)],
)
def test_losses_of_a_click_are_those_of_sam2(masks, weights):
    for seed in range(4):
        logits, truth = logits_and_truth(6, masks, seed=seed)
        truth[2] = False
        rated = torch.rand(6, masks, generator=seeded(seed + 100), dtype=torch.float64)
        there = torch.randn(6, 1, generator=seeded(seed + 200), dtype=torch.float64)

        found = click_losses(logits.float(), rated, there, truth, 6.0, weights)

        expected = reference(logits.float().double(), rated, there, truth, 6.0, weights)
        for ours, theirs in zip(found, expected, strict=True):
            assert float(ours) == pytest.approx(float(theirs), rel=2e-5)
        total = (
            weights.mask * expected[0]
            + weights.dice * expected[1]
            + weights.iou * expected[2]
            + weights.object * expected[3]
        )
        assert float(found.total(weights)) == pytest.approx(float(total), rel=2e-5)


def test_gradients_are_those_of_the_definition():
    logits, truth = logits_and_truth(4, 3, dtype=torch.float32)
    truth[1] = False
    rated = torch.rand(4, 3, generator=seeded(7))
    there = torch.randn(4, 1, generator=seeded(8))
    weights = LossesSection()
    ours = [x.clone().requires_grad_() for x in (logits, rated, there)]
    theirs = [x.double().requires_grad_() for x in (logits, rated, there)]

    click_losses(*ours, truth, 4.0, weights).total(weights).backward()
    mask, dice, iou, there_loss = reference(*theirs, truth, 4.0, weights)
    (20 * mask + dice + iou + there_loss).backward()

    for one, other in zip(ours, theirs, strict=True):
        assert torch.allclose(one.grad.double(), other.grad, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("gamma", [0.0, 1.0, 2.0, 3.0])
@pytest.mark.parametrize("scale", [1, 2, 4])
def test_gradients_of_comparisons_pass_gradcheck(gamma, scale):
    logits, truth = logits_and_truth(3, 1, 4, scale)

    assert torch.autograd.gradcheck(
        lambda x: compare_masks(x, truth, 0.25, gamma)[:2],
        logits[:, 0].requires_grad_(),
        eps=1e-6,
        atol=1e-6,
    )


def test_parts_do_not_matter(monkeypatch):
    logits, truth = logits_and_truth(7, 1, dtype=torch.float32)
    whole = compare_masks(logits[:, 0], truth)
    monkeypatch.setattr(mask_losses, "_CPU_PIXELS", 1)

    for one, other in zip(whole, compare_masks(logits[:, 0], truth), strict=True):
        assert torch.allclose(one, other, rtol=1e-6)


def test_certain_masks_have_finite_losses_and_gradients():
    truth = torch.tensor([[[True, False]]]).repeat(2, 2, 1)
    logits = torch.tensor([1e4, -1e4])[None, None].repeat(2, 2, 1)
    logits[1] *= -1
    logits.requires_grad_()

    found = compare_masks(logits, truth)
    (found.focal + found.dice).sum().backward()

    assert found.focal.tolist() == pytest.approx([0, 5e3])
    assert found.dice.tolist() == pytest.approx([0, 0.8])
    assert found.iou.tolist() == [1, 0]
    assert logits.grad.isfinite().all()


def test_a_worked_example():
    """Logits of 0 everywhere, half of four pixels are the object: p = 1/2."""
    truth = torch.tensor([[[True, True], [False, False]]])
    losses = click_losses(
        torch.zeros(1, 1, 2, 2), torch.tensor([[0.3]]), torch.zeros(1, 1), truth, 1.0,
        LossesSection(),
    )  # fmt: skip

    # (0.25 + 0.75) / 2 * (1/2)^2 * ln 2; 1 - (2 * 1 + 1) / (2 + 2 + 1); |0.3 - 0|; ln 2
    assert float(losses.mask) == pytest.approx(0.125 * math.log(2))
    assert float(losses.dice) == pytest.approx(0.4)
    assert float(losses.iou) == pytest.approx(0.3)
    assert float(losses.object) == pytest.approx(math.log(2))


def test_only_the_best_of_three_learns_its_shape_but_all_learn_their_iou():
    truth = torch.zeros(1, 8, 8, dtype=torch.bool)
    truth[0, 2:6, 2:6] = True
    signs = truth[:, None].float() * 2 - 1
    logits = torch.cat([-signs, 2 * signs, 0 * signs], 1).requires_grad_()
    rated = torch.full((1, 3), 0.6).requires_grad_()

    weights = LossesSection()
    click_losses(logits, rated, torch.zeros(1, 1), truth, 1.0, weights).total(weights).backward()

    assert logits.grad.flatten(2).abs().sum(-1).tolist()[0][0] == 0
    assert logits.grad[0, 1].abs().sum() > 0
    assert logits.grad[0, 2].abs().sum() == 0
    assert rated.grad[0].tolist() == pytest.approx([1 / 3, -1 / 3, 1 / 3])


def test_where_there_is_no_object_only_its_score_learns():
    truth = torch.zeros(1, 8, 8, dtype=torch.bool)
    logits = torch.randn(1, 3, 8, 8, generator=seeded(0)).requires_grad_()
    rated = torch.full((1, 3), 0.6).requires_grad_()
    there = torch.zeros(1, 1).requires_grad_()

    weights = LossesSection()
    click_losses(logits, rated, there, truth, 1.0, weights).total(weights).backward()

    assert logits.grad.abs().sum() == 0
    assert rated.grad.abs().sum() == 0
    assert there.grad.item() == pytest.approx(0.5)


def test_losses_are_divided_by_the_number_of_objects():
    logits, truth = logits_and_truth(4, 3, dtype=torch.float32)
    rated, there = torch.rand(4, 3), torch.zeros(4, 1)
    one = click_losses(logits, rated, there, truth, 1.0, LossesSection())
    four = click_losses(logits, rated, there, truth, 4.0, LossesSection())

    for a, b in zip(one, four, strict=True):
        assert float(a) == pytest.approx(4 * float(b))


def test_16_bits_are_compared_as_32():
    logits, truth = logits_and_truth(2, 3, dtype=torch.float32)
    rated, there = torch.rand(2, 3), torch.zeros(2, 1)
    short = click_losses(logits.bfloat16(), rated, there, truth, 2.0, LossesSection())

    exact = click_losses(logits.bfloat16().float(), rated, there, truth, 2.0, LossesSection())
    assert [float(v) for v in short] == [float(v) for v in exact]
