"""Which images a step learns from, and how they are read: the same ones however often it is done.

Nothing here has a state. What a step shows follows from the seed, the number of the step and the
place in it, so a run that goes on from step 1,000 sees what one that was never stopped sees.
"""

import pickle
import warnings
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset, Sampler

from vision.finetune.augmentation import change_pixels, draw_view, whole
from vision.finetune.config import TrainConfig
from vision.finetune.errors import TrainingDataError
from vision.finetune.hardware import known
from vision.finetune.split import Split
from vision.finetune.squares import square_image, square_masks
from vision.finetune.training_images import TrainingImage, UnusableImageError, read_pixels
from vision.masks import RleError
from vision.masks.rle import rle_bbox

_TRIES = 8
"""Images in a row that may be unusable before training gives up."""

# What is drawn for the order of images, for an image, for what replaces it, and for its prompts.
_ORDER, _IMAGE, _REPLACEMENT, PROMPTS = range(4)


def random_of(*key: int) -> np.random.Generator:
    """A generator that follows from these numbers alone."""
    return np.random.default_rng(list(key))


class Skipped(NamedTuple):
    """An image or a mask that was left out.

    Attributes:
        image_id: The image.
        reason: What is wrong with it.
    """

    image_id: str
    reason: str


class Sample(NamedTuple):
    """An image as a step sees it.

    Attributes:
        image: uint8, shape (3, size, size), RGB.
        masks: bool, shape (n, side, side), n at least 1.
        image_id: The image.
        skipped: What was left out on the way.
    """

    image: torch.Tensor
    masks: torch.Tensor
    image_id: str
    skipped: list[Skipped]


class Batch(NamedTuple):
    """Images that a device works on at once.

    Attributes:
        images: uint8, shape (b, 3, size, size), RGB.
        masks: bool, shape (n, side, side), those of all images.
        image_of: int64, shape (n,): which image a mask is of, in order.
        image_ids: The images.
        skipped: What was left out.
    """

    images: torch.Tensor
    masks: torch.Tensor
    image_of: torch.Tensor
    image_ids: list[str]
    skipped: list[Skipped]


class Place(NamedTuple):
    """An image of a step.

    Attributes:
        step: Number of the step, from 0.
        slot: Number of the image in the step, over all devices and batches.
        number: Place of the image among all.
    """

    step: int
    slot: int
    number: int


@dataclass(frozen=True)
class Course:
    """Which images each step shows.

    Attributes:
        split: The data.
        images_per_step: Over all devices and batches.
        seed: Of the order.
    """

    split: Split
    images_per_step: int
    seed: int

    @property
    def steps_per_epoch(self) -> int:
        """Steps until each image has been shown, on average where weights differ."""
        return -(-len(self.split.train) // self.images_per_step)

    def places(self, step: int, slots: range) -> list[Place]:
        """The images in some slots of a step. The last step of an epoch begins it once more."""
        epoch, within = divmod(step, self.steps_per_epoch)
        order = _order(self.split, self.seed, epoch)
        first = within * self.images_per_step
        return [Place(step, slot, int(order[(first + slot) % len(order)])) for slot in slots]


@lru_cache(maxsize=2)
def _order_of(seed: int, epoch: int, train: tuple[int, ...], weights: bytes) -> NDArray[np.int64]:
    random = random_of(seed, _ORDER, epoch)
    shares = np.frombuffer(weights, np.float64)
    if (shares == shares[0]).all():
        return random.permutation(np.array(train))
    return random.choice(np.array(train), len(train), p=shares / shares.sum())


def _order(split: Split, seed: int, epoch: int) -> NDArray[np.int64]:
    return _order_of(seed, epoch, split.train, split.weights.tobytes())


class StepBatches(Sampler[list[Place]]):
    """The batches of one process, step by step.

    Args:
        course: Which images each step shows.
        steps: The steps.
        accumulate: Batches of a step.
        batch_images: Images of a batch.
        rank: Number of the process.
        processes: How many there are.
    """

    def __init__(
        self,
        course: Course,
        steps: range,
        accumulate: int,
        batch_images: int,
        rank: int = 0,
        processes: int = 1,
    ) -> None:
        self._course = course
        self._steps = steps
        self._accumulate = accumulate
        self._batch_images = batch_images
        self._rank = rank
        self._processes = processes

    def __len__(self) -> int:
        return len(self._steps) * self._accumulate

    def __iter__(self) -> Iterator[list[Place]]:
        for step in self._steps:
            for number in range(self._accumulate):
                first = (number * self._processes + self._rank) * self._batch_images
                yield self._course.places(step, range(first, first + self._batch_images))


class StepImages(Dataset[Sample]):
    """Reads the image of a place, changed and squashed as its step wants it.

    Args:
        images: All images.
        split: Which of them are learnt from.
        config: Without `auto`.
    """

    def __init__(self, images: Sequence[TrainingImage], split: Split, config: TrainConfig) -> None:
        self._images = images
        self._split = split
        self._config = config

    def __getitem__(self, place: Place) -> Sample:
        """Read an image; one that cannot be used is named, and another takes its place.

        Raises:
            TrainingDataError: Many in a row cannot be used.
        """
        skipped: list[Skipped] = []
        number = place.number
        for attempt in range(_TRIES):
            image = self._images[number]
            random = random_of(self._config.seed, _IMAGE, place.step, place.slot, attempt)
            try:
                return self._sample(image, random, skipped)
            except UnusableImageError as error:
                skipped.append(Skipped(image.image_id, str(error)))
            other = random_of(self._config.seed, _REPLACEMENT, place.step, place.slot, attempt)
            number = self._split.train[int(other.integers(len(self._split.train)))]
        raise TrainingDataError(
            f"{_TRIES} images in a row cannot be used; the last was "
            f"{skipped[-1].image_id}: {skipped[-1].reason}"
        )

    def _sample(
        self, image: TrainingImage, random: np.random.Generator, skipped: list[Skipped]
    ) -> Sample:
        config = self._config
        rgb = read_pixels(image)
        height, width = rgb.shape[:2]
        order = random.permutation(len(image.rles)).tolist()
        view = draw_view(height, width, _middle(image, order[0]), config.augmentation, random)
        masks, problems = square_masks(image, order, view, config)
        if not masks:
            view = whole(height, width)
            masks, _ = square_masks(image, order, view, config)
        skipped += [Skipped(image.image_id, problem) for problem in problems]
        if not masks:
            raise UnusableImageError("none of its masks is large enough to learn from")
        square = square_image(rgb, view, known(config.data.image_size))
        square = change_pixels(square, config.augmentation, random)
        pixels = torch.from_numpy(np.ascontiguousarray(square.transpose(2, 0, 1)))
        return Sample(pixels, torch.from_numpy(np.stack(masks)), image.image_id, skipped)


def _middle(image: TrainingImage, number: int) -> tuple[float, float]:
    """The middle of a mask's box; of the image, if the mask is damaged."""
    try:
        x, y, width, height = rle_bbox(image.rles[number], image.height_px, image.width_px)
    except RleError:
        return image.width_px / 2, image.height_px / 2
    return x + width / 2, y + height / 2


def join(samples: Sequence[Sample]) -> Batch:
    """Put samples together."""
    counts = torch.tensor([len(sample.masks) for sample in samples])
    return Batch(
        torch.stack([sample.image for sample in samples]),
        torch.cat([sample.masks for sample in samples]),
        torch.arange(len(samples)).repeat_interleave(counts),
        [sample.image_id for sample in samples],
        [skipped for sample in samples for skipped in sample.skipped],
    )


def load(
    images: StepImages, places: StepBatches, workers: int, pin: bool
) -> Generator[Batch, None, None]:
    """Read batches ahead of their use, two for each worker; closing it ends the workers.

    Args:
        images: What to read; where there are workers, it is pickled for them.
        places: In which order.
        workers: Processes that read; 0 reads in this one.
        pin: Whether to keep them where an accelerator fetches them faster.

    Raises:
        TrainingDataError: Many images in a row cannot be used, or images cannot be pickled.
    """
    loader = DataLoader(
        _Tried(images),
        batch_sampler=places,
        num_workers=workers,
        collate_fn=_join_tried,
        pin_memory=pin,
        worker_init_fn=_be_one_thread,
        # A fork of a process with threads may hang, and runs what they left to be done at exit:
        # Prefect's log fails there, and workers then end with an error.
        multiprocessing_context="spawn" if workers else None,
    )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # torch would advise to fork
            batches = iter(loader)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise TrainingDataError(
            f"the images cannot be sent to the processes that read them ({error}): let `pixels` be "
            "paths, or functions that pickle knows, or set data.workers to 0"
        ) from error
    try:
        for batch in batches:
            if isinstance(batch, TrainingDataError):
                raise batch
            yield batch
    finally:
        del batches  # workers end with it; the traceback of an error would keep it


class _Tried(Dataset[Sample | TrainingDataError]):
    """Images, or why there are none; what is raised in a worker would arrive as its traceback."""

    def __init__(self, images: StepImages) -> None:
        self._images = images

    def __getitem__(self, place: Place) -> Sample | TrainingDataError:
        try:
            return self._images[place]
        except TrainingDataError as error:
            return error


def _join_tried(samples: Sequence[Sample | TrainingDataError]) -> Batch | TrainingDataError:
    whole_ones: list[Sample] = []
    for sample in samples:
        if isinstance(sample, TrainingDataError):
            return sample
        whole_ones.append(sample)
    return join(whole_ones)


def _be_one_thread(_: int) -> None:
    cv2.setNumThreads(0)
