"""Export a selection as a dataset in a folder, in one of the forms other people work with."""

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Protocol

from storage.lake import Lake
from storage.objects import ObjectStore
from tasks.exports.folder import whole_folder, write_marker
from tasks.exports.pictures import copy_picture, picture_extension
from tasks.exports.selection import ExportImage, ExportObject, SelectedObjects, Selection
from tasks.report.data import Progress
from vision.images import DEFAULT_MAX_PX
from vision.masks import rle_area


class DatasetFormat(Protocol):
    """Writes the images and masks of one export, one image after the other."""

    name: str

    def start(self, folder: Path, labels: Sequence[str]) -> None:
        """Begin.

        Args:
            folder: where to write; it exists and is empty.
            labels: every label that occurs, sorted.
        """

    def picture_path(self, image: ExportImage, extension: str) -> str:
        """Where the file of an image goes, relative to the folder."""

    def add(
        self, image: ExportImage, picture: str, objects: Sequence[ExportObject]
    ) -> Sequence[ExportObject]:
        """Write one image's masks, none of which is empty.

        Args:
            image: the image.
            picture: what `picture_path` answered; its name in the drop if it is not copied.
            objects: its masks.

        Returns:
            The masks as they were written, which may be fewer.
        """

    def finish(self) -> Mapping[str, int]:
        """End, and tell by name and number what the form could not express.

        Raises:
            ValueError: it was to express everything.
        """

    def close(self) -> None:
        """Let go of open files, whether it has come to `finish` or not."""


@dataclass(frozen=True)
class ExportSummary:
    """What an export did.

    Attributes:
        format: name of the form.
        output: the folder.
        images: images in it.
        objects: masks in it.
        labels: masks per label.
        models: models that cut the segments; with several, objects may be there twice.
        missing_images: images whose bytes are gone or broken, left out with their masks.
        turned_images: images written upright, because their file has an EXIF orientation.
        empty_masks: masks without a pixel, left out.
        limits: what the form could not express, by name, in objects.
    """

    format: str
    output: str
    images: int
    objects: int
    labels: Mapping[str, int]
    models: tuple[str, ...]
    missing_images: int = 0
    turned_images: int = 0
    empty_masks: int = 0
    limits: Mapping[str, int] = field(default_factory=dict)


def export_dataset(
    lake: Lake,
    store: ObjectStore,
    output: Path,
    form: DatasetFormat,
    selection: Selection,
    *,
    pictures: bool = True,
    overwrite: bool = False,
    max_px: int = DEFAULT_MAX_PX,
    progress: Progress | None = None,
) -> ExportSummary:
    """Write a selection to a folder, which appears when it is complete.

    One image and its masks are in memory at a time; rows that do not fit are sorted on disk.

    Args:
        lake: the tables.
        store: the objects of the same root.
        output: folder to write.
        form: how to write.
        selection: what to take.
        pictures: whether the image files are copied too.
        overwrite: whether an earlier export at `output` is replaced.
        max_px: largest image that is turned upright, in pixels.
        progress: told after each image, under the stage name `export NAME`.

    Returns:
        What was written.

    Raises:
        OutputFolderError: something else is at `output`.
        NothingToExportError: no image fits the selection.
        ValueError: the form was told to express everything, and cannot.
    """
    with (
        whole_folder(output, overwrite) as folder,
        # Inside, so that nothing is left of it whatever happens.
        SelectedObjects(lake, selection, folder / ".spill") as selected,
    ):
        form.start(folder, list(selected.labels))
        with closing(form):
            written = _write(store, form, folder, selected, pictures, max_px, progress)
            limits = {name: number for name, number in form.finish().items() if number}
        summary = ExportSummary(
            format=form.name,
            output=str(output),
            images=written.images,
            objects=written.labels.total(),
            labels=dict(sorted(written.labels.items())),
            models=selected.models,
            missing_images=written.missing,
            turned_images=written.turned,
            empty_masks=written.empty,
            limits=limits,
        )
        facts = asdict(summary) | {"selection": asdict(selection)}
        del facts["output"]
        write_marker(folder, facts)
    return summary


@dataclass
class _Written:
    """What was counted on the way; see `ExportSummary`."""

    images: int = 0
    missing: int = 0
    turned: int = 0
    empty: int = 0
    labels: Counter[str] = field(default_factory=Counter)


def _write(
    store: ObjectStore,
    form: DatasetFormat,
    folder: Path,
    selected: SelectedObjects,
    pictures: bool,
    max_px: int,
    progress: Progress | None,
) -> _Written:
    written = _Written()
    for image, found in selected:
        path = form.picture_path(image, picture_extension(image)) if pictures else image.file_name
        if pictures and not copy_picture(store, image, folder / path, max_px):
            written.missing += 1
        else:
            objects = [item for item in found if rle_area(item.rle)]
            written.labels.update(item.label for item in form.add(image, path, objects))
            written.images += 1
            written.turned += pictures and image.exif_orientation != 1
            written.empty += len(found) - len(objects)
        if progress is not None:
            progress(f"export {form.name}", image.number, selected.images, image.file_name)
    return written
