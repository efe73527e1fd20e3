"""Choose what an export takes: segments or annotations, image by image, in one pass."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from storage.lake import Lake
from storage.queries import named_query
from storage.session import connect
from storage.versions import Versions

Source = Literal["segments", "annotations", "curated"]

_BATCH_ROWS = 2_000
# What does not fit is sorted on disk, so that the masks of a large table need no more than this.
_SORT_MEMORY = "1GB"
_MOST_THREADS = 4  # each has a part of this memory

_COUNTS = "SELECT count(DISTINCT image_id), count(object_id) FROM"
_LABELS = "SELECT label, count(*) FROM"
_MODELS = "SELECT DISTINCT model_id FROM"


class NothingToExportError(ValueError):
    """No image fits the selection."""

    def __init__(self, selection: "Selection") -> None:
        other = "annotations" if selection.source == "segments" else "segments"
        what = "curated masks" if selection.source == "curated" else selection.source
        super().__init__(
            f"no {what} fit these filters; "
            f"see what there is with segmill sql, or try --source {other}"
        )


@dataclass(frozen=True)
class Selection:
    """What to export.

    Attributes:
        source: the table the masks come from, or the view `curated`.
        dataset: only this dataset; None takes all.
        labels: only these labels or categories; none takes all.
        model_id: only what this model cut; only segments have one to filter by.
        min_score: only segments named at least this surely, 0-1; likewise.
        split: only images of this split.
        empty_images: whether images on which nothing fits come too.
        versions: older versions of tables to read, by table.
    """

    source: Source = "segments"
    dataset: str | None = None
    labels: tuple[str, ...] = ()
    model_id: str | None = None
    min_score: float = 0.0
    split: str | None = None
    empty_images: bool = False
    versions: Versions = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse filters that the source cannot have.

        Raises:
            ValueError: anything but segments is filtered by model or score.
        """
        if self.source != "segments" and (self.model_id is not None or self.min_score > 0):
            what = "curated masks" if self.source == "curated" else self.source
            raise ValueError(f"{what} have neither model nor score to filter by")


@dataclass(frozen=True)
class ExportImage:
    """An image of an export; sizes are after the EXIF orientation.

    Attributes:
        number: its place in the export, from 1, which is its id there.
    """

    number: int
    image_id: str
    dataset: str
    file_name: str
    uri: str
    width_px: int
    height_px: int
    exif_orientation: int
    split: str


@dataclass(frozen=True)
class ExportObject:
    """A mask of an export.

    Attributes:
        object_id: of the segment or annotation in its table.
        label: its label or category.
        rle: mask at the size of its image, as compressed COCO counts.
        score: probability of the label, 0-1; None where there is none.
        iscrowd: whether the mask covers a group of objects.
        isthing: whether it is countable; None where that is not known.
        predicted_iou: mask quality as the model says, 0-1.
        stability_score: how little the mask changes with its threshold, 0-1.
        point_xy: prompt point in pixels.
        crop_box_xywh: part of the image that was looked at, in pixels.
    """

    object_id: str
    label: str
    rle: bytes
    score: float | None = None
    iscrowd: bool = False
    isthing: bool | None = None
    predicted_iou: float | None = None
    stability_score: float | None = None
    point_xy: tuple[float, ...] | None = None
    crop_box_xywh: tuple[float, ...] | None = None


class SelectedObjects:
    """The objects of a selection, counted at once and then read image by image."""

    def __init__(self, lake: Lake, selection: Selection, spill: Path) -> None:
        """Count what fits.

        Args:
            lake: the tables.
            selection: what to take.
            spill: folder for what does not fit in memory while rows are sorted.

        Raises:
            NothingToExportError: no image fits.
        """
        self._rows = f"({named_query(f'export_{selection.source}')})"
        self._parameters: dict[str, Any] = {
            "dataset": selection.dataset,
            "split": selection.split,
            "labels": list(selection.labels),
            "empty_images": selection.empty_images,
        }
        if selection.source == "segments":
            self._parameters |= {"model_id": selection.model_id, "min_score": selection.min_score}
        self._session = connect(lake, selection.versions)
        self._session.execute("SET temp_directory = ?", [str(spill)])
        self._session.execute(f"SET memory_limit = '{_SORT_MEMORY}'")
        self._session.execute(f"SET threads = {min(_MOST_THREADS, os.cpu_count() or 1)}")
        ((self.images, self.objects),) = self._ask(f"{_COUNTS} {self._rows}")
        self.labels: dict[str, int] = dict(
            self._ask(
                f"{_LABELS} {self._rows} WHERE label IS NOT NULL GROUP BY label ORDER BY label"
            )
        )
        models = self._ask(f"{_MODELS} {self._rows} WHERE model_id IS NOT NULL ORDER BY model_id")
        self.models = tuple(model_id for (model_id,) in models)
        if not self.images:
            self._session.close()
            raise NothingToExportError(selection)

    def __enter__(self) -> Self:
        """Use it in a `with` block."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the session."""
        self._session.close()

    def __iter__(self) -> Iterator[tuple[ExportImage, list[ExportObject]]]:
        """Each image with its objects, in the same order for the same tables."""
        rows = groupby(self._sorted_rows(), key=itemgetter("image_id"))
        for number, (_, of_image) in enumerate(rows, start=1):
            first, *rest = of_image
            image = ExportImage(
                number=number,
                image_id=first["image_id"],
                dataset=first["dataset"],
                file_name=first["file_name"],
                uri=first["uri"],
                width_px=first["width_px"],
                height_px=first["height_px"],
                exif_orientation=first["exif_orientation"],
                split=first["split"],
            )
            found = [row for row in (first, *rest) if row["object_id"] is not None]
            yield image, [_object(row) for row in found]

    def _sorted_rows(self) -> Iterator[dict[str, Any]]:
        relation = self._session.sql(
            f"SELECT * FROM {self._rows} ORDER BY image_id, object_id, rle",
            params=self._parameters,
        )
        for batch in relation.to_arrow_reader(_BATCH_ROWS):
            yield from batch.to_pylist()

    def _ask(self, sql: str) -> list[tuple[Any, ...]]:
        return self._session.execute(sql, self._parameters).fetchall()


def _object(row: Mapping[str, Any]) -> ExportObject:
    return ExportObject(
        object_id=row["object_id"],
        label=row["label"],
        rle=row["rle"].encode("ascii"),
        score=row["score"],
        iscrowd=row["iscrowd"],
        isthing=row["isthing"],
        predicted_iou=row["predicted_iou"],
        stability_score=row["stability_score"],
        point_xy=None if row["point_xy"] is None else tuple(row["point_xy"]),
        crop_box_xywh=None if row["crop_box_xywh"] is None else tuple(row["crop_box_xywh"]),
    )
