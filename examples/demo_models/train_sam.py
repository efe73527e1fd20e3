"""Train the demo's SAM 2 from scratch on generated comic pages.

    python -m examples.demo_models.train_sam --minutes 60 --output models/demo

Small pages first (most of the layout is learnt there, four times cheaper), full size after.
A checkpoint is written every few minutes; `--resume` goes on from it. The shipped weights are the
exponential moving average. The memory modules, which only video uses, keep their initial values.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch.utils.data import DataLoader

from examples.demo_models.data_parallel import average_over_processes, run_processes
from examples.demo_models.dense_head import DenseHead
from examples.demo_models.pages import FIRST_HELD_OUT_SEED, PageStream
from examples.demo_models.sam_losses import PixelWeights, mask_losses
from examples.demo_models.sam_prompts import (
    correction_clicks,
    sample_boxes,
    sample_clicks,
    targets,
)
from vision.sam2.config import demo_model

PIXEL_MEAN = torch.tensor([0.485, 0.456, 0.406])[:, None, None]
PIXEL_STD = torch.tensor([0.229, 0.224, 0.225])[:, None, None]
FULL_PX = 512


@dataclass(frozen=True)
class Stage:
    """A part of the training at one image size.

    Attributes:
        until: the share of the time at which it ends, 0..1.
        size_px: side of the square image.
        batch: pages a step, of all processes together.
        repeats: how often a page is shown.
        weights: of the pixel losses.
    """

    until: float
    size_px: int
    batch: int
    repeats: int
    weights: PixelWeights


STAGES = (
    Stage(0.3, 128, 16, 3, PixelWeights(focal=0.0, balanced=1.0)),
    Stage(0.65, 256, 8, 2, PixelWeights(focal=5.0, balanced=0.5)),
    Stage(1.0, FULL_PX, 4, 1, PixelWeights(focal=20.0, balanced=0.0)),
)


@dataclass(frozen=True)
class Recipe:
    """What to train with; kept in the manifest."""

    minutes: float = 60.0
    clicks: int = 16
    boxes: int = 4
    box_every: int = 4
    dense_weight: float = 0.5
    learning_rate: float = 1e-3
    weight_decay: float = 0.05
    warmup_steps: int = 100
    gradient_clip: float = 1.0
    average_decay: float = 0.998
    first_seed: int = 0
    seed: int = 7
    processes: int = 1
    finest_frequency: float = 2.5


class Decoder:
    """SAM 2's prompt encoder and mask decoder on a batch of images at once."""

    def __init__(self, model: Any, images: torch.Tensor) -> None:
        device = next(model.parameters()).device
        pixels = images.to(device).float() / 255
        pixels = (pixels - PIXEL_MEAN.to(device)) / PIXEL_STD.to(device)
        features = model.forward_image(pixels)["backbone_fpn"]
        self.model = model
        self.embedding = features[-1] + model.no_mem_embed.view(1, -1, 1, 1)
        self.high_resolution = features[:-1]

    def __call__(
        self,
        points_xy: torch.Tensor,
        labels: torch.Tensor,
        mask_input: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Masks for the same number of prompts an image, prompts of an image together.

        Returns:
            logits (prompts, 4, h, w), predicted IoU (prompts, 4), object logits (prompts, 1);
            mask 0 is the single-mask output, 1..3 the three ambiguous ones.
        """
        device = self.embedding.device
        repeats = points_xy.shape[0] // self.embedding.shape[0]
        sparse, dense = self.model.sam_prompt_encoder(
            points=(points_xy.to(device), labels.to(device)), boxes=None, masks=mask_input
        )
        logits, iou, _, object_logits = self.model.sam_mask_decoder.predict_masks(
            image_embeddings=self.embedding.repeat_interleave(repeats, 0),
            image_pe=self.model.sam_prompt_encoder.get_dense_pe(),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            repeat_image=False,
            high_res_features=[f.repeat_interleave(repeats, 0) for f in self.high_resolution],
        )
        return logits, iou, object_logits


def batch_loss(
    model: Any,
    head: DenseHead,
    images: torch.Tensor,
    ids: torch.Tensor,
    recipe: Recipe,
    step: int,
    generator: torch.Generator,
    weights: PixelWeights,
) -> tuple[torch.Tensor, float]:
    """Loss of one step and the mean IoU of its clicks."""
    decode = Decoder(model, images)
    device = decode.embedding.device
    clicks = sample_clicks(ids, recipe.clicks, generator)
    logits, iou, object_logits = decode(clicks.points_xy.flatten(0, 1), clicks.labels.flatten(0, 1))
    target = targets(ids, clicks.ids, 2 * logits.shape[-1]).to(device)
    losses = mask_losses(
        logits[:, 1:].float(), iou[:, 1:].float(), object_logits.float(), target, weights
    )
    total = losses.total + recipe.dense_weight * head.loss(
        [decode.embedding, *decode.high_resolution[::-1]], ids
    )
    if step % recipe.box_every == 0:
        total = total + _box_loss(decode, ids, recipe, generator)
    return total, losses.mean_iou


def _box_loss(
    decode: Decoder, ids: torch.Tensor, recipe: Recipe, generator: torch.Generator
) -> torch.Tensor:
    """A box, then a correction click with the first mask as prompt; the single-mask output."""
    boxes = sample_boxes(ids, recipe.boxes, generator)
    points, labels = boxes.points_xy.flatten(0, 1), boxes.labels.flatten(0, 1)
    logits, iou, object_logits = decode(points, labels)
    size = logits.shape[-1]
    target = targets(ids, boxes.ids, size).any(1, keepdim=True).to(logits.device)
    first = mask_losses(logits[:, :1].float(), iou[:, :1].float(), object_logits.float(), target)
    click, click_label = correction_clicks(
        logits[:, 0].detach(), target[:, 0], ids.shape[-1] // size, generator
    )
    logits, iou, object_logits = decode(
        torch.cat([points, click], 1),
        torch.cat([labels, click_label], 1),
        logits[:, :1].detach().float().clamp(-32, 32),
    )
    second = mask_losses(logits[:, :1].float(), iou[:, :1].float(), object_logits.float(), target)
    return first.total + second.total


def train(rank: int, recipe: Recipe, output: Path, device: str, resume: bool) -> None:
    """Train for `recipe.minutes` and write `sam2.safetensors` and its training record.

    Args:
        rank: number of this process, 0 to `recipe.processes` - 1; the first one writes.
        recipe: what to train with.
        output: folder of the weights and of the checkpoint.
        device: as torch names it; more than one process share a CPU only.
        resume: go on from the checkpoint in `output`, if there is one.
    """
    torch.manual_seed(recipe.seed)
    models = {stage.size_px: demo_model(stage.size_px).to(device).train() for stage in STAGES}
    model = models[FULL_PX]
    _spread_frequencies(model, recipe.finest_frequency)
    for other in models.values():
        _share_weights(other, model)
    head = DenseHead(_feature_channels(model)).to(device)
    average = deepcopy(model).requires_grad_(False)
    groups = _parameter_groups(model, head, recipe)
    parameters = [p for group in groups for p in group["params"]]
    optimizer = torch.optim.AdamW(groups, lr=recipe.learning_rate)
    checkpoint = output / "sam2-training.pt"
    step, spent_s = 0, 0.0
    if resume and checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True, map_location=device)
        model.load_state_dict(state["model"])
        average.load_state_dict(state["average"])
        head.load_state_dict(state["head"])
        optimizer.load_state_dict(state["optimizer"])
        step, spent_s = state["step"], state["spent_s"]
    generator = torch.Generator().manual_seed(recipe.seed + recipe.processes * step + rank)
    streams: dict[int, Iterator[list[torch.Tensor]]] = {}
    started = last_saved = time.monotonic()
    seen = 0.0
    progress = spent_s / (recipe.minutes * 60)
    while progress < 1:
        stage = next(stage for stage in STAGES if progress < stage.until)
        size = stage.size_px
        if size not in streams:
            streams.clear()
            streams[size] = _stream(stage, recipe, step, rank)
        images, ids = next(streams[size])
        rate = recipe.learning_rate * _schedule(progress, step, recipe.warmup_steps)
        for group in optimizer.param_groups:
            group["lr"] = rate
        with torch.autocast("cuda", torch.bfloat16, enabled=device.startswith("cuda")):
            loss, iou = batch_loss(
                models[size], head, images, ids, recipe, step, generator, stage.weights
            )
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        elapsed_s = spent_s + time.monotonic() - started
        # All processes must agree on how far they are, or they would change stages apart.
        iou, progress = average_over_processes(
            parameters, [iou, elapsed_s / (recipe.minutes * 60)], recipe.processes
        )
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), recipe.gradient_clip)
        if torch.isfinite(norm):
            optimizer.step()
        decay = min(recipe.average_decay, (1 + step) / (10 + step))
        with torch.no_grad():
            for mean, value in zip(average.parameters(), model.parameters(), strict=True):
                mean.lerp_(value, 1 - decay)
        step += 1
        seen = 0.98 * seen + 0.02 * iou if step > 1 else iou
        if rank:
            continue
        if step % 25 == 0:
            print(
                f"step {step:6d}  {progress:6.1%}  {size} px  loss {loss.item():.3f}  "
                f"click IoU {seen:.3f}  {elapsed_s:.0f} s",
                flush=True,
            )
        if time.monotonic() - last_saved > 180 or progress >= 1:
            last_saved = time.monotonic()
            _save(output, model, head, average, optimizer, step, elapsed_s, recipe)


def _spread_frequencies(model: Any, finest: float) -> None:
    """Let the frequencies that clicks are encoded with reach `finest` times SAM's own.

    SAM draws 128 frequencies from one normal distribution; with half as many, finer ones are
    needed for a click to tell one text line from the next.
    """
    frequencies = model.sam_prompt_encoder.pe_layer.positional_encoding_gaussian_matrix
    frequencies *= torch.logspace(0, math.log10(finest), frequencies.shape[1])


def _share_weights(other: Any, model: Any) -> None:
    """Make `other` (another image size) use the very parameters of `model`."""
    own = dict(model.named_modules())
    for name, module in other.named_modules():
        for key in list(module._parameters):
            module._parameters[key] = own[name]._parameters[key]
        for key, buffer in module._buffers.items():
            # The prompt encoder's random Fourier frequencies are a buffer too.
            twin = own[name]._buffers[key]
            if buffer is not None and twin is not None and buffer.shape == twin.shape:
                module._buffers[key] = twin


def _feature_channels(model: Any) -> tuple[int, ...]:
    """Channels of the embedding and of the two finer features, as the mask decoder takes them."""
    decoder = model.sam_mask_decoder
    fine, finest = decoder.conv_s1.out_channels, decoder.conv_s0.out_channels
    return decoder.transformer_dim, fine, finest


def _parameter_groups(model: Any, head: DenseHead, recipe: Recipe) -> list[dict[str, Any]]:
    image_modules = [p for n, p in model.named_parameters() if not n.startswith("memory_")]
    image_modules += list(head.parameters())
    decayed = [p for p in image_modules if p.ndim > 1]
    plain = [p for p in image_modules if p.ndim <= 1]
    return [
        {"params": decayed, "weight_decay": recipe.weight_decay},
        {"params": plain, "weight_decay": 0.0},
    ]


def _schedule(progress: float, step: int, warmup_steps: int) -> float:
    """Warm-up by steps, then a cosine over the time that is given."""
    return min(1.0, (step + 1) / warmup_steps) * (0.02 + 0.49 * (1 + math.cos(math.pi * progress)))


def _stream(stage: Stage, recipe: Recipe, step: int, rank: int) -> Iterator[list[torch.Tensor]]:
    # As many seeds a step as the largest batch keep those of a resumed run apart from those seen.
    first = recipe.first_seed + max(stage.batch for stage in STAGES) * step
    seeds = range(first, FIRST_HELD_OUT_SEED)[rank :: recipe.processes]
    stream = PageStream(stage.size_px, seeds, stage.repeats)
    return iter(DataLoader(stream, stage.batch // recipe.processes))


def _save(
    output: Path,
    model: Any,
    head: DenseHead,
    average: Any,
    optimizer: torch.optim.Optimizer,
    step: int,
    spent_s: float,
    recipe: Recipe,
) -> None:
    output.mkdir(parents=True, exist_ok=True)
    state = {
        "model": model.state_dict(),
        "average": average.state_dict(),
        "head": head.state_dict(),
        "optimizer": optimizer.state_dict(),
        "step": step,
        "spent_s": spent_s,
    }
    partial = output / "sam2-training.pt.partial"
    torch.save(state, partial)
    partial.replace(output / "sam2-training.pt")
    weights = {k: v.half().contiguous().cpu() for k, v in average.state_dict().items()}
    # It tells the hash of other weights now, and these would be refused; it is written last.
    (output / "manifest.json").unlink(missing_ok=True)
    save_file(weights, output / "sam2.safetensors", {"image_size": str(FULL_PX)})
    record = {"recipe": recipe.__dict__, "steps": step, "seconds": round(spent_s)}
    (output / "sam2-training.json").write_text(json.dumps(record, indent=2) + "\n")


def main() -> None:
    """Read the command line and train."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--minutes", type=float, default=Recipe.minutes)
    parser.add_argument("--output", type=Path, default=Path("models/demo"))
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--seed", type=int, default=Recipe.seed)
    parser.add_argument("--first-seed", type=int, default=Recipe.first_seed)
    parser.add_argument("--processes", type=int, default=1, help="one a core, on a CPU")
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint")
    options = parser.parse_args()
    recipe = Recipe(
        minutes=options.minutes,
        seed=options.seed,
        first_seed=options.first_seed,
        processes=options.processes,
    )
    options.output.mkdir(parents=True, exist_ok=True)
    arguments = (recipe, options.output, options.device, options.resume)
    run_processes(train, recipe.processes, arguments)


if __name__ == "__main__":
    main()
