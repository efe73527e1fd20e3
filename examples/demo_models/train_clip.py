"""Train the demo CLIP from scratch on generated comic pages.

    python -m examples.demo_models.train_clip --minutes 10 --output models/demo

It learns the sentences of the `comic` label set: every object of a page with the captions of its
category, every mask of nothing with the background prompts. Pages of held-out seeds are never
used. With `--sam-weights`, masks of that model on training pages are learned too, so that it knows
the mistakes it will have to refuse; `--start` continues from weights instead of random ones:

    python -m examples.demo_models.train_clip --seed 200000000 --steps 500
        --start models/demo/clip.safetensors --sam-weights models/demo/sam2.safetensors
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import nn

from examples.comics import Page, generate_page
from examples.demo_models.clip_samples import FOUND_JUNK_IOU, labelled_crops, page_masks
from examples.demo_models.crop_pool import CropPool
from examples.demo_models.pages import FIRST_HELD_OUT_SEED
from vision.clip import UNKNOWN, LabelSet, load_label_set
from vision.clip.labeller import normalised
from vision.clip.loading import DEMO_CONFIG, LoadedClip, demo_clip, prepare_clip
from vision.masks import rle_to_mask

BATCH = 128
PEAK_LEARNING_RATE = 2e-3
# A batch's mix is the prior of the probabilities: more junk in it and more objects stay unnamed.
UNKNOWN_SHARE = 0.24
FIRST_PAGES = 120
STEPS_PER_PAGE = 2
JUNK_PER_PAGE = 30
POOL_PER_LABEL = 12_000
MAX_LOGIT_SCALE = 100.0
TEXT_TO_IMAGE_WEIGHT = 0.2


class CaptionTable:
    """Token ids of every caption, by label, to draw one caption a label and step."""

    def __init__(self, label_set: LabelSet, clip: LoadedClip) -> None:
        self.tokens = [clip.tokenize(label_set.captions(label)) for label in label_set.labels]
        self.background = clip.tokenize(list(label_set.background))
        self.label_of_row = torch.tensor(
            list(range(len(self.tokens))) + [len(self.tokens)] * len(self.background)
        )

    def draw(self, rng: np.random.Generator) -> torch.Tensor:
        """One caption of each label, then all background prompts: int64, (captions, tokens)."""
        chosen = [rows[int(rng.integers(len(rows)))] for rows in self.tokens]
        return torch.cat([torch.stack(chosen), self.background])


def contrastive_loss(logits: torch.Tensor, positive: torch.Tensor) -> torch.Tensor:
    """CLIP's loss where a caption may belong to many images and an image to many captions.

    Args:
        logits: float32, shape (images, captions): scaled cosines.
        positive: bool, same shape: which pairs belong together; one at least in every row.

    Returns:
        Negative log of the probability that falls on the positives, averaged over images, plus
        the same over captions with a smaller weight.
    """
    kept = logits.masked_fill(~positive, -torch.inf)
    by_image = logits.logsumexp(1) - kept.logsumexp(1)
    used = positive.any(0)
    by_caption = logits.logsumexp(0)[used] - kept.logsumexp(0)[used]
    return by_image.mean() + TEXT_TO_IMAGE_WEIGHT * by_caption.mean()


def varied(crops: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Change contrast and brightness of each crop a little; some become gray."""
    gain = rng.uniform(0.8, 1.2, (len(crops), 1, 1, 1)).astype(np.float32)
    offset = rng.uniform(-20, 20, (len(crops), 1, 1, 1)).astype(np.float32)
    values = crops.astype(np.float32)
    gray = rng.random(len(crops)) < 0.1
    values[gray] = values[gray].mean(axis=3, keepdims=True)
    changed = (values - 128) * gain + 128 + offset
    return changed.clip(0, 255).astype(np.uint8)


class Training:
    """The model in training and the pages it learns from."""

    def __init__(self, seed: int, start: Path | None = None) -> None:
        """Build the model.

        Args:
            seed: The first page's, and that of everything random.
            start: Weights to continue from; None starts with random ones.
        """
        torch.manual_seed(seed)
        self.rng = np.random.default_rng(seed)
        self.label_set = load_label_set("comic")
        self.clip = prepare_clip(demo_clip(), DEMO_CONFIG.stem, "new", torch.device("cpu"))
        self.model = self.clip.model.train()
        if start is not None:
            self.model.load_state_dict(load_file(start))
        self.captions = CaptionTable(self.label_set, self.clip)
        labels = (*self.label_set.names, UNKNOWN)
        self.shares = np.full(len(labels), (1 - UNKNOWN_SHARE) / len(self.label_set.names))
        self.shares[-1] = UNKNOWN_SHARE
        self.pools = [CropPool(labels, self.clip.image_size_px, POOL_PER_LABEL)]
        self.next_seed = seed
        self.optimizer = torch.optim.AdamW(_parameter_groups(self.model), betas=(0.9, 0.98))

    def next_page(self) -> Page:
        """Draw the next page.

        Raises:
            ValueError: The held-out seeds begin.
        """
        if self.next_seed >= FIRST_HELD_OUT_SEED:
            raise ValueError(f"training seeds end below {FIRST_HELD_OUT_SEED}")
        self.next_seed += 1
        return generate_page(self.next_seed - 1)

    def add_page(self) -> None:
        """Put the crops of one more page into the pool."""
        page = self.next_page()
        masks = page_masks(page, self.rng, JUNK_PER_PAGE)
        style, size_px = self.label_set.crop[0], self.clip.image_size_px
        self.pools[0].add(labelled_crops(page, masks, style, size_px, self.rng))

    def add_found_masks(self, weights: Path, pages: int) -> None:
        """Fill a second pool with the masks a SAM 2 finds, labelled by what they overlap."""
        from vision.sam2 import load_segmenter

        segmenter = load_segmenter(f"file:{weights}", "demo", "cpu")
        style, size_px = self.label_set.crop[0], self.clip.image_size_px
        pool = CropPool(self.pools[0].labels, size_px, POOL_PER_LABEL)
        drawn = [self.next_page() for _ in range(pages)]
        with ThreadPoolExecutor(os.cpu_count()) as threads:
            every_found = threads.map(lambda page: segmenter.segment(page.image), drawn)
            for page, found in zip(drawn, every_found, strict=True):
                masks = [rle_to_mask(mask.rle, *page.image.shape[:2]) for mask in found]
                pool.add(labelled_crops(page, masks, style, size_px, junk_iou=FOUND_JUNK_IOU))
        self.pools.append(pool)

    def step(self, learning_rate: float) -> float:
        """Learn from one batch, drawn from all pools alike, and return its loss."""
        drawn = [p.draw(BATCH // len(self.pools), self.shares, self.rng) for p in self.pools]
        crops = varied(np.concatenate([crops for crops, _ in drawn]), self.rng)
        targets = torch.from_numpy(np.concatenate([numbers for _, numbers in drawn]))
        images = self.model.encode_image(normalised(crops, self.clip), normalize=True)
        texts = self.model.encode_text(self.captions.draw(self.rng), normalize=True)
        logits = self.model.logit_scale.exp() * images @ texts.T
        loss = contrastive_loss(logits, targets[:, None] == self.captions.label_of_row[None])
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        self.optimizer.zero_grad()
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        with torch.no_grad():
            self.model.logit_scale.clamp_(0, np.log(MAX_LOGIT_SCALE))
        return loss.item()


def _parameter_groups(model: nn.Module) -> list[dict[str, Any]]:
    """Weights that decay and those that do not: the vocabulary's unused words stay as they are."""
    named = list(model.named_parameters())
    decayed = [p for name, p in named if p.ndim >= 2 and "token" not in name]
    others = [p for name, p in named if p.ndim < 2 or "token" in name]
    return [{"params": decayed, "weight_decay": 0.05}, {"params": others, "weight_decay": 0.0}]


def train(
    seed: int,
    steps: int,
    minutes: float = float("inf"),
    first_pages: int = FIRST_PAGES,
    found_masks: tuple[Path, int] | None = None,
    start: Path | None = None,
) -> nn.Module:
    """Train a demo CLIP.

    Args:
        seed: First page seed, and the seed of everything random.
        steps: Optimisation steps at most.
        minutes: Time limit; where it is not reached, the same seed gives the same model.
        first_pages: Pages drawn before the first step; one more comes every few steps.
        found_masks: Weights of a SAM 2, and on how many pages its masks are learned as well.
        start: Weights to continue from, with a lower learning rate.

    Returns:
        The trained model, in evaluation mode.

    Raises:
        ValueError: The pages would run into the held-out seeds.
    """
    began = time.monotonic()
    training = Training(seed, start)
    peak = PEAK_LEARNING_RATE if start is None else PEAK_LEARNING_RATE / 2
    if found_masks is not None:
        training.add_found_masks(*found_masks)
        _say(f"found masks: {training.pools[1].counts}, {time.monotonic() - began:.0f} s")
    for _ in range(first_pages):
        training.add_page()
    _say(f"first crops: {training.pools[0].counts}, {time.monotonic() - began:.0f} s")
    running = 0.0
    for step in range(steps):
        done = max(step / steps, (time.monotonic() - began) / (60 * minutes))
        if done >= 1:
            break
        if step % STEPS_PER_PAGE == 0:
            training.add_page()
        warm_up = min(1.0, (step + 1) / 50)
        loss = training.step(peak * warm_up * 0.5 * (1 + math.cos(math.pi * done)))
        running += max(0.05, 1 / (step + 1)) * (loss - running)
        if step % 100 == 99:
            _say(f"step {step + 1} loss {running:.3f} {time.monotonic() - began:.0f} s")
    model: nn.Module = training.model.eval()
    return model


def save_half(model: nn.Module, path: Path) -> None:
    """Store the weights as float16 safetensors: half the size, same answers."""
    state = {
        name: (tensor.half() if tensor.is_floating_point() else tensor).contiguous()
        for name, tensor in model.state_dict().items()
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(state, path)
    path.chmod(0o644)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main() -> None:
    """Train and store `clip.safetensors`."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--minutes", type=float, default=float("inf"))
    parser.add_argument("--output", type=Path, default=Path("models/demo"))
    parser.add_argument("--seed", type=int, default=100_000_000)
    parser.add_argument("--start", type=Path, help="weights to continue from")
    parser.add_argument("--sam-weights", type=Path, help="a SAM 2 whose masks are learned too")
    parser.add_argument("--sam-pages", type=int, default=150)
    arguments = parser.parse_args()
    cv2.setNumThreads(0)
    found_masks = None
    if arguments.sam_weights is not None:
        found_masks = (arguments.sam_weights, arguments.sam_pages)
    model = train(
        arguments.seed,
        arguments.steps,
        arguments.minutes,
        found_masks=found_masks,
        start=arguments.start,
    )
    # It tells the hash of other weights now, and these would be refused; it is written last.
    (arguments.output / "manifest.json").unlink(missing_ok=True)
    save_half(model, arguments.output / "clip.safetensors")
    record = {
        "seed": arguments.seed,
        "steps": arguments.steps,
        "pages_cut_by_sam": arguments.sam_pages if found_masks else 0,
        "continued": arguments.start is not None,
    }
    (arguments.output / "clip-training.json").write_text(json.dumps(record, indent=2) + "\n")
    _say(f"stored {arguments.output / 'clip.safetensors'}")


if __name__ == "__main__":
    main()
