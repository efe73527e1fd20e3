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
from vision.clip.probabilities import probabilities_of
from vision.clip.results import UNKNOWN, HasRle, LabelResult, RankedLabel
from vision.masks.rle import rle_to_box_mask

TOP_LABELS = 5


class ClipLabeller:
    """Names segments with one CLIP and one label set. Text embeddings are computed once.

    A label's embedding is the mean over its phrases and the set's templates, each normalised,
    normalised again; that of a segment the same over the set's crops. Cosines times the model's
    trained scale become probabilities by a softmax over labels and background prompts together.
    SigLIP models, which are trained with a bias, give each label a probability of its own: the
    sigmoid of scaled cosine and bias.

    Attributes:
        clip: The model.
        label_set: The labels and rules.
        model_id: The model's id.
        batch_size: Segments embedded at once.
        texts: Embeddings of the labels, then of the background prompts, float32, shape (n, dim).
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
            self.texts = torch.stack(rows)
            self._scale = float(clip.model.logit_scale.exp().item())
            bias: torch.Tensor | None = getattr(clip.model, "logit_bias", None)
            self._bias = None if bias is None else float(bias.item())

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
        return self.label_many([(rgb, masks)])[0]

    def label_many(
        self, images: Sequence[tuple[NDArray[np.uint8], Sequence[bytes | HasRle]]]
    ) -> list[list[LabelResult]]:
        """Name the masks of several images, which share batches.

        Args:
            images: Pixels and masks of each, as `label` takes them.

        Returns:
            A list per image, in order.
        """
        crops = (crop for rgb, masks in images for crop in self._crops(rgb, masks))
        named: list[LabelResult] = []
        for batch in _batches(crops, self.batch_size):
            cosines = self.compare(np.concatenate(batch))
            for cosine, probability in zip(cosines, self.probabilities(cosines), strict=True):
                named.append(decide(self.label_set, cosine, probability, self.sigmoid))
        results = iter(named)
        return [[next(results) for _ in masks] for _, masks in images]

    def logits_of(
        self, rgb: NDArray[np.uint8], masks: Sequence[bytes | HasRle]
    ) -> NDArray[np.float64]:
        """The model's logits for each mask, shape (masks, labels + background prompts)."""
        batches = _batches(self._crops(rgb, masks), self.batch_size)
        return self.logits(np.concatenate([self.compare(np.concatenate(b)) for b in batches]))

    @torch.inference_mode()
    def compare(self, crops: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Compare segments with all labels and background prompts.

        Args:
            crops: uint8, shape (segments * crops of each, size, size, 3).

        Returns:
            Cosines, float64, shape (segments, labels + background prompts).
        """
        images = normalised(crops, self.clip).to(self.clip.device)
        embeddings = self.clip.model.encode_image(images, normalize=True).float()
        of_segments = embeddings.unflatten(0, (-1, len(self.label_set.crop))).mean(1)
        cosines = normalize(of_segments, dim=-1) @ self.texts.T
        return np.asarray(cosines.double().cpu().numpy())

    def probabilities(self, cosines: NDArray[np.float64]) -> NDArray[np.float64]:
        """What `compare` returned as probabilities, at the label set's temperature."""
        return probabilities_of(self.logits(cosines), self.label_set.temperature, self.sigmoid)

    def logits(self, cosines: NDArray[np.float64]) -> NDArray[np.float64]:
        """What `compare` returned as the model's logits."""
        return cosines * self._scale + (self._bias or 0.0)

    @property
    def sigmoid(self) -> bool:
        """Whether each label has a probability of its own, as SigLIP's have."""
        return self._bias is not None

    def _crops(
        self, rgb: NDArray[np.uint8], masks: Sequence[bytes | HasRle]
    ) -> Iterator[NDArray[np.uint8]]:
        """The crops of each segment, shape (crops, size, size, 3)."""
        height, width = rgb.shape[:2]
        size_px = self.clip.image_size_px
        for mask in masks:
            counts = mask if isinstance(mask, bytes) else mask.rle
            inside, box_xywh = rle_to_box_mask(counts, height, width)
            yield np.stack(
                [
                    crop_segment(rgb, inside, box_xywh, style, size_px)
                    for style in self.label_set.crop
                ]
            )

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
    label_set: LabelSet,
    cosines: NDArray[np.float64],
    probabilities: NDArray[np.float64],
    sigmoid: bool = False,
) -> LabelResult:
    """Turn one segment's comparison into a name.

    The background prompts count as one candidate, with the best of their cosines. Its probability
    is the sum of theirs, as shares of one whole; of sigmoids, which are none, it is the largest.

    Args:
        label_set: The labels and the rule for `unknown`.
        cosines: float64, shape (labels + background prompts,), labels first.
        probabilities: Same shape.
        sigmoid: Whether the probabilities are apart from each other; otherwise they sum to 1.
    """
    named = len(label_set.labels)
    candidates = [
        RankedLabel(name, float(cosine), float(probability))
        for name, cosine, probability in zip(label_set.names, cosines, probabilities, strict=False)
    ]
    best_place = max(range(named), key=lambda place: candidates[place].probability)
    best = candidates[best_place]
    if len(cosines) > named:
        others = probabilities[named:]
        background = float(others.max() if sigmoid else others.sum())
        candidates.append(RankedLabel(UNKNOWN, float(cosines[named:].max()), background))
    candidates.sort(key=lambda candidate: -candidate.probability)
    rivals = [candidate.probability for candidate in candidates if candidate is not best]
    margin = best.probability - max(rivals, default=0.0)
    needed = label_set.min_probability(label_set.labels[best_place])
    sure = best.probability >= needed and margin >= label_set.unknown.min_margin
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
