"""CLIP as a labeller: each segment's crop is compared with every label's embedding."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import normalize

from vision.clip.crops import crop_segment
from vision.clip.label_set import LabelSet, LabelSetError
from vision.clip.loading import LoadedClip
from vision.clip.results import UNKNOWN, HasRle, LabelResult, RankedLabel
from vision.masks import rle_to_mask

TOP_LABELS = 5


class ClipLabeller:
    """Names segments with one CLIP and one label set. Text embeddings are computed once.

    A label's embedding is the mean over its phrases and the set's templates, each normalised,
    normalised again. The softmax runs over labels and background prompts together, after
    multiplying cosines with the model's trained scale.

    Attributes:
        clip: The model.
        label_set: The labels and rules.
        model_id: The model's id.
        batch_size: Crops embedded at once.
    """

    def __init__(self, clip: LoadedClip, label_set: LabelSet, batch_size: int = 64) -> None:
        """Embed the label set.

        Raises:
            LabelSetError: A prompt has more tokens than the model reads.
        """
        self.clip = clip
        self.label_set = label_set
        self.model_id = clip.model_id
        self.batch_size = batch_size
        with torch.inference_mode():
            rows = [self._mean_embedding(label_set.captions(label)) for label in label_set.labels]
            rows += [self._mean_embedding([sentence]) for sentence in label_set.background]
            self._texts = torch.stack(rows)
            self._scale = clip.model.logit_scale.exp()

    def label(self, rgb: NDArray[np.uint8], masks: Sequence[bytes | HasRle]) -> list[LabelResult]:
        """Name each mask.

        Args:
            rgb: uint8, shape (h, w, 3), RGB.
            masks: Compressed COCO counts for that h and w, or records with an `rle`.

        Returns:
            One result per mask, in order.

        Raises:
            RleError: Counts that are no mask of this image's size.
        """
        return self.label_crops(self._crops(rgb, masks))

    def label_crops(self, crops: Iterable[NDArray[np.uint8]]) -> list[LabelResult]:
        """Name crops that `crop_segment` cut, uint8, shape (size, size, 3) each."""
        results: list[LabelResult] = []
        for batch in _batches(crops, self.batch_size):
            cosines, probabilities = self._compare(batch)
            for cosine, probability in zip(cosines, probabilities, strict=True):
                results.append(decide(self.label_set, cosine, probability))
        return results

    def _crops(
        self, rgb: NDArray[np.uint8], masks: Sequence[bytes | HasRle]
    ) -> Iterator[NDArray[np.uint8]]:
        height, width = rgb.shape[:2]
        for mask in masks:
            counts = mask if isinstance(mask, bytes) else mask.rle
            yield crop_segment(
                rgb,
                rle_to_mask(counts, height, width),
                self.label_set.crop,
                self.clip.image_size_px,
            )

    @torch.inference_mode()
    def _compare(
        self, crops: list[NDArray[np.uint8]]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Cosines and probabilities, float64, shape (crops, labels + background prompts)."""
        images = normalised(np.stack(crops), self.clip).to(self.clip.device)
        embeddings = self.clip.model.encode_image(images, normalize=True).float()
        cosines = embeddings @ self._texts.T
        probabilities = torch.softmax((cosines * self._scale).double(), dim=-1)
        return cosines.double().cpu().numpy(), probabilities.cpu().numpy()

    def _mean_embedding(self, captions: list[str]) -> torch.Tensor:
        tokens = self.clip.tokenize(captions)
        self._refuse_long(captions)
        each = self.clip.model.encode_text(tokens.to(self.clip.device), normalize=True)
        return normalize(each.float().mean(dim=0), dim=-1)

    def _refuse_long(self, captions: list[str]) -> None:
        """open_clip cuts long sentences silently; a cut prompt would mean something else."""
        encode = getattr(self.clip.tokenize, "encode", None)
        if encode is None:
            return
        for caption in captions:
            count = len(encode(caption)) + 2
            if count > self.clip.context_length:
                raise LabelSetError(
                    f"label set {self.label_set.name!r}: {caption!r} has {count} tokens, "
                    f"{self.model_id} reads {self.clip.context_length}"
                )


def normalised(crops: NDArray[np.uint8], clip: LoadedClip) -> torch.Tensor:
    """Crops as the image tower takes them.

    Args:
        crops: uint8, shape (n, size, size, 3), RGB.
        clip: Gives mean and standard deviation.

    Returns:
        float32, shape (n, 3, size, size).
    """
    scaled = torch.from_numpy(crops).permute(0, 3, 1, 2).float() / 255
    mean = torch.tensor(clip.mean_rgb).view(3, 1, 1)
    return (scaled - mean) / torch.tensor(clip.std_rgb).view(3, 1, 1)


def decide(
    label_set: LabelSet, cosines: NDArray[np.float64], probabilities: NDArray[np.float64]
) -> LabelResult:
    """Turn one segment's comparison into a name.

    The background prompts count as one candidate: the sum of their probabilities, the best of
    their cosines.

    Args:
        label_set: The labels and the rule for `unknown`.
        cosines: float64, shape (labels + background prompts,), labels first.
        probabilities: Same shape; sums to 1.
    """
    named = len(label_set.labels)
    candidates = [
        RankedLabel(name, float(cosine), float(probability))
        for name, cosine, probability in zip(label_set.names, cosines, probabilities, strict=False)
    ]
    best = max(candidates, key=lambda candidate: candidate.probability)
    if len(cosines) > named:
        background = float(probabilities[named:].sum())
        candidates.append(RankedLabel(UNKNOWN, float(cosines[named:].max()), background))
    candidates.sort(key=lambda candidate: -candidate.probability)
    others = [candidate.probability for candidate in candidates if candidate is not best]
    margin = best.probability - max(others, default=0.0)
    rule = label_set.unknown
    sure = best.probability >= rule.min_probability and margin >= rule.min_margin
    return LabelResult(
        label=best.label if sure else UNKNOWN,
        score=best.probability,
        margin=margin,
        top=tuple(candidates[:TOP_LABELS]),
    )


def _batches(crops: Iterable[NDArray[np.uint8]], size: int) -> Iterator[list[NDArray[np.uint8]]]:
    batch: list[NDArray[np.uint8]] = []
    for crop in crops:
        batch.append(crop)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
