"""What a model is trained on: curated masks, image by image, from tables at fixed versions."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby, islice
from operator import itemgetter
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from storage.lake import Lake
from storage.objects import ObjectStore
from storage.queries import named_query
from storage.session import connect, newest_versions
from tasks.data_version import EPOCH, DataVersion
from tasks.report.gather import image_key
from vision.images import DEFAULT_MAX_PX, decode_image

Source = Literal["annotation", "review", "rules"]

_READ_TABLES = ("annotations", "drops", "images", "reviews", "segments", "units")
_BATCH_ROWS = 2_000
# What does not fit is sorted on disk.
_SORT_MEMORY = "1GB"
_MOST_THREADS = 4  # each has a part of this memory
_UNTIL = """
SELECT max(curated_at) FROM curated
WHERE source = 'annotation' AND ($dataset::VARCHAR IS NULL OR dataset = $dataset)
"""

_HELD_BACK_LOOKS = """
SELECT DISTINCT perceptual_hash FROM images
WHERE NOT starts_with(lower(split), 'train') AND perceptual_hash IS NOT NULL
"""


class NoTrainingDataError(ValueError):
    """There is no curated mask to train on."""

    def __init__(self, dataset: str | None, split: str) -> None:
        super().__init__(
            f"no curated mask on images of the split {split!r}"
            + (f" of dataset {dataset!r}" if dataset else "")
            + "; accept segments with segmill review or segmill curate, or ingest annotations"
        )


@dataclass(frozen=True)
class SourceWeights:
    """How much a mask counts in training, by who vouches for it.

    Attributes:
        annotation: It came with a drop.
        review: A person decided.
        rules: Rules accepted what a model was sure of, with that model's mistakes.
    """

    annotation: float = 1.0
    review: float = 1.0
    rules: float = 0.5

    def __post_init__(self) -> None:
        """Refuse weights that are none.

        Raises:
            ValueError: If one is negative or no number.
        """
        for name, weight in vars(self).items():
            if not 0 <= weight < float("inf"):
                raise ValueError(f"expected a weight of 0 or more for {name}, but got {weight}")


@dataclass(frozen=True)
class TrainingMask:
    """A curated mask.

    Attributes:
        rle: At the size of its image, as compressed COCO counts.
        label: Its label or category.
        weight: How much it counts.
        source: Who vouches for it.
        object_id: Id of the segment or annotation.
    """

    rle: bytes
    label: str
    weight: float
    source: Source
    object_id: str


@dataclass(frozen=True)
class TrainingSample:
    """An image with its curated masks, of which there is at least one.

    Attributes:
        image_id: The image, a sha256.
        uri: Where it is stored; `read_pixels` reads it.
        file_name: Its name in its drop.
        width_px: Width after the EXIF orientation is applied.
        height_px: Height, likewise.
        perceptual_hash: Near-duplicates differ in a few of its 64 bits; hexadecimal, None if the
            image was stored without it.
        split: `train`, `val` or whatever was asked for.
        masks: Its masks, in the same order for the same tables.
    """

    image_id: str
    uri: str
    file_name: str
    width_px: int
    height_px: int
    perceptual_hash: str | None
    split: str
    masks: tuple[TrainingMask, ...]


@dataclass(frozen=True)
class TrainingCounts:
    """How much there is.

    Attributes:
        images: Images with at least one mask.
        masks: Masks in all.
        labels: Masks by label.
        sources: Masks by source.
    """

    images: int
    masks: int
    labels: Mapping[str, int] = field(default_factory=dict)
    sources: Mapping[str, int] = field(default_factory=dict)


class TrainingData:
    """The curated masks of a split, read from fixed versions of the tables.

    Images that are in the split `val` or `test` of any dataset are never in `train`. One pass at a
    time; a pass holds a few images' masks in memory, whatever the size of the tables.

    Attributes:
        version: What is read: the same again for `version` gives the same samples.
        counts: How much there is.
    """

    def __init__(
        self,
        lake: Lake,
        *,
        dataset: str | None = None,
        split: str = "train",
        labels: Sequence[str] = (),
        weights: SourceWeights | None = None,
        version: DataVersion | None = None,
    ) -> None:
        """Fix the versions and count.

        Args:
            lake: The tables.
            dataset: Only this dataset; None takes all.
            split: Only images of this split.
            labels: Only these labels; none takes all.
            weights: How much masks count.
            version: What to read, of an earlier training; None takes what is newest now.

        Raises:
            NoTrainingDataError: If there is none.
            ValueError: If the version is of another dataset, or does not name all tables.
            VersionGoneError: If these versions can no longer be read: maintenance keeps them for
                `SEGMILL_VACUUM_RETENTION_HOURS`.
        """
        if version is not None and version.dataset != dataset:
            raise ValueError(
                f"the version is of dataset {version.dataset!r}, but {dataset!r} is to be read"
            )
        if version is not None and (missing := set(_READ_TABLES) - version.tables.keys()):
            raise ValueError(f"the version does not name the table {min(missing)!r}")
        self._weights = weights or SourceWeights()
        self._parameters = {"dataset": dataset, "split": split, "labels": list(labels)}
        newest = newest_versions(lake) if version is None else version.tables
        tables = {name: newest[name] for name in _READ_TABLES}
        self._session = connect(lake, tables)
        self._spill = TemporaryDirectory(prefix="segmill-training-")
        try:
            self._session.execute("SET temp_directory = ?", [self._spill.name])
            self._session.execute(f"SET memory_limit = '{_SORT_MEMORY}'")
            threads = min(_MOST_THREADS, os.cpu_count() or 1)
            self._session.execute(f"SET threads = {threads}")
            self.version = version or DataVersion(dataset, tables, self._annotations_until(dataset))
            self.counts = self._count()
            if not self.counts.masks:
                raise NoTrainingDataError(dataset, split)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        """Use it in a `with` block."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close it."""
        self.close()

    def close(self) -> None:
        """Let go of the tables, and delete what was sorted on disk."""
        self._session.close()
        self._spill.cleanup()

    def samples(self, seed: int | None = None) -> Iterator[TrainingSample]:
        """Each image once.

        Args:
            seed: Shuffles the images: the same seed gives the same order, on every machine. None
                sorts them by their ids.
        """
        order = "image_id" if seed is None else f"md5(image_id || '/{int(seed)}'), image_id"
        found = self._session.sql(
            f"SELECT * FROM ({named_query('training_masks')}) "
            f"ORDER BY {order}, source, object_id, label, rle",
            params=self._parameters,
        )
        rows = (row for batch in found.to_arrow_reader(_BATCH_ROWS) for row in batch.to_pylist())
        for _, of_image in groupby(rows, key=itemgetter("image_id")):
            yield self._sample(list(of_image))

    def held_back_looks(self) -> list[str]:
        """Perceptual hashes of the images of all datasets that are held back, hexadecimal."""
        return [looks for (looks,) in self._session.execute(_HELD_BACK_LOOKS).fetchall()]

    def batches(self, images: int, seed: int | None = None) -> Iterator[list[TrainingSample]]:
        """Each image once, several at a time; the last batch may have fewer.

        Args:
            images: Images of a batch.
            seed: As `samples`.
        """
        samples = self.samples(seed)
        while batch := list(islice(samples, images)):
            yield batch

    def _sample(self, rows: Sequence[Mapping[str, Any]]) -> TrainingSample:
        first = rows[0]
        return TrainingSample(
            image_id=first["image_id"],
            uri=first["uri"],
            file_name=first["file_name"],
            width_px=first["width_px"],
            height_px=first["height_px"],
            perceptual_hash=first["perceptual_hash"],
            split=first["split"],
            masks=tuple(
                TrainingMask(
                    rle=row["rle"].encode("ascii"),
                    label=row["label"],
                    weight=getattr(self._weights, row["source"]),
                    source=row["source"],
                    object_id=row["object_id"],
                )
                for row in rows
            ),
        )

    def _count(self) -> TrainingCounts:
        rows = f"({named_query('training_masks')})"
        ((images, masks),) = self._ask(f"SELECT count(DISTINCT image_id), count(*) FROM {rows}")
        by = "SELECT {0}, count(*) FROM {1} GROUP BY {0} ORDER BY {0}"
        return TrainingCounts(
            images,
            masks,
            dict(self._ask(by.format("label", rows))),
            dict(self._ask(by.format("source", rows))),
        )

    def _annotations_until(self, dataset: str | None) -> datetime:
        ((until,),) = self._session.execute(_UNTIL, {"dataset": dataset}).fetchall()
        return until or EPOCH

    def _ask(self, sql: str) -> list[tuple[Any, ...]]:
        return self._session.execute(sql, self._parameters).fetchall()


def read_pixels(
    store: ObjectStore, sample: TrainingSample, max_px: int = DEFAULT_MAX_PX
) -> NDArray[np.uint8]:
    """Read the image of a sample.

    Args:
        store: The objects of the same root as the tables.
        sample: The sample.
        max_px: Largest width * height that is decoded.

    Returns:
        uint8, shape (height_px, width_px, 3), RGB, upright.

    Raises:
        ObjectNotFoundError: If it is gone from the store.
        ImageError: If it can no longer be decoded.
    """
    return decode_image(store.read(image_key(sample.image_id, sample.uri)), max_px).rgb
