"""Take sealed drops in: their images, annotations, masks and what is wrong with them.

Each drop is a unit of work. Small ones are committed in groups: a commit and a look into the tables
take as long for one of them as for many.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE

from storage.errors import ObjectUnreadableError
from storage.lake import Lake
from storage.objects import open_store
from storage.objects.keys import printable
from storage.units import FinishedUnit
from tasks.dataset_knowledge import DatasetKnowledge
from tasks.drop_annotations import DropContent, match_documents
from tasks.drop_images import store_images
from tasks.drop_units import Limits, intake_unit, refusal_unit
from tasks.mask_files import write_masks
from tasks.quarantine import quarantine_row
from tasks.report.data import Progress
from tasks.seal_drops import (
    DropChangedError,
    EmptyDropError,
    FailedDrop,
    SealedDrop,
    seal_again,
)
from vision.coco import Finding

# Of a group; a larger drop is a group of its own. What a killed run does again at most.
_GROUP_FILES = 512
_GROUP_JSON_BYTES = 32 * 2**20


@dataclass(frozen=True)
class DropSummary:
    """What became of a drop.

    Attributes:
        drop_id: The sealed drop.
        source: Where it lies.
        images: Images stored by this run; 0 if the drop had been ingested before.
        annotations: Annotations stored by this run.
        quarantined: Rows this run wrote to the quarantine.
        bad_fraction: The larger of the shares of bad images and of bad annotations.
        notes: What was repaired or is unusual, one line a rule.
        already_ingested: Whether there was nothing to do.
        rejected: Whether the drop was refused as a whole, now or before.
    """

    drop_id: str
    source: str
    images: int
    annotations: int
    quarantined: int
    bad_fraction: float
    already_ingested: bool
    notes: tuple[str, ...] = ()
    rejected: bool = False


@dataclass(frozen=True)
class DropGroup:
    """Drops of one dataset that are committed together."""

    drops: tuple[SealedDrop, ...]

    @property
    def name(self) -> str:
        """Where they lie, in a few words."""
        others = len(self.drops) - 1
        return self.drops[0].place.name + (f" and {others} more" if others else "")


@dataclass(frozen=True)
class GroupSummary:
    """What became of a group of drops.

    Attributes:
        drops: Those that were taken in, now or before.
        failed: Those that could not be read; the others do not wait for them to be mended.
        stopped_by: What ended it early; to be raised when those before it were told of.
    """

    drops: list[DropSummary]
    failed: list[FailedDrop]
    stopped_by: Exception | None = None


def group_drops(drops: Sequence[SealedDrop]) -> Iterator[DropGroup]:
    """Cut drops into groups, in their order."""
    group: list[SealedDrop] = []
    files = json_bytes = 0
    for drop in drops:
        documents = [file for file in drop.files if file.key.lower().endswith(".json")]
        drop_bytes = sum(file.size_bytes for file in documents)
        fits = files + len(drop.files) <= _GROUP_FILES
        if group and not (fits and json_bytes + drop_bytes <= _GROUP_JSON_BYTES):
            yield DropGroup(tuple(group))
            group, files, json_bytes = [], 0, 0
        group.append(drop)
        files += len(drop.files)
        json_bytes += drop_bytes
    if group:
        yield DropGroup(tuple(group))


# It is not tried again: what an attempt had committed would be told as done before.
@task(name="ingest-drops", task_run_name="ingest-{group.name}", cache_policy=NO_CACHE)
def ingest_drops(
    root: str,
    group: DropGroup,
    *,
    run_id: str,
    limits: Limits,
    progress: Progress | None = None,
) -> GroupSummary:
    """Ingest drops; of those whose content is in the dataset already nothing is done.

    A drop that is refused as a whole is remembered with the limits that it was held against: with
    other limits it is looked at again. One that changed since it was sealed is sealed once more.

    Args:
        root: The data root.
        group: The sealed drops.
        run_id: The run to name in the units' rows.
        limits: The largest files that are taken in.
        progress: Told after each image and each mask.
    """
    intake = _Intake(Lake.open(root), root, run_id, limits, progress)
    intake.ask_lives(group.drops)
    done, failed, stopped_by = [], [], None
    try:
        for drop in group.drops:
            try:
                done.append(_take(intake, root, drop))
            except (ObjectUnreadableError, DropChangedError, EmptyDropError) as error:
                failed.append(FailedDrop(drop.place, printable(str(error))))
            except Exception as error:
                stopped_by = error
                break
    finally:
        # Also where one ends the run, or somebody does: those before it would wait every night.
        intake.commit()
    return GroupSummary(done, failed, stopped_by)


def _take(intake: "_Intake", root: str, drop: SealedDrop) -> DropSummary:
    try:
        return intake.take(drop)
    except DropChangedError:
        # It was sealed with all others, perhaps long ago.
        again = seal_again(root, drop)
        intake.ask_lives([again])
        return intake.take(again)


@dataclass
class _Taken:
    """The rows of a drop that is not committed yet."""

    finished: FinishedUnit
    life: int
    images: list[dict[str, Any]]
    annotations: list[dict[str, Any]]
    quarantine: list[dict[str, Any]]


class _Intake:
    """Takes drops in one after the other, and commits them together."""

    def __init__(
        self, lake: Lake, root: str, run_id: str, limits: Limits, progress: Progress | None
    ) -> None:
        self._lake = lake
        self._target = open_store(root)
        self._sources = {root: self._target}
        self._run_id = run_id
        self._limits = limits
        self._progress = progress
        self._lives: dict[str, int | None] = {}
        self._knowledge: dict[str, DatasetKnowledge] = {}
        self._taken: dict[str, _Taken] = {}

    def ask_lives(self, drops: Sequence[SealedDrop]) -> None:
        """Ask which drops were taken in or refused before."""
        self._lives |= self._lake.lives([unit for drop in drops for unit in self._units(drop)])

    def take(self, drop: SealedDrop) -> DropSummary:
        """Store the files of a drop, and keep its rows for the commit."""
        unit, refusal = self._units(drop)
        if self._is_done(unit):
            return _nothing_to_do(drop, rejected=False)
        if self._is_done(refusal):
            return _nothing_to_do(drop, rejected=True)
        content = self._read(drop)
        dataset = drop.place.dataset
        if dataset not in self._knowledge:
            self._knowledge[dataset] = DatasetKnowledge(self._lake, dataset)
        knowledge = self._knowledge[dataset]
        notes = [*content.notes, *knowledge.new_categories(content)]
        splits = knowledge.splits(content)
        images = _image_rows(content, drop, splits)
        annotations = write_masks(
            self._target, dataset, content.annotations, splits, self._progress
        )
        for row in annotations:
            row["drop_id"] = drop.drop_id
        quarantine = [
            quarantine_row(dataset, drop.drop_id, found, "ingest") for found in content.findings
        ]
        if content.rejected:
            unit = refusal
        finished = FinishedUnit(
            stage="reject" if content.rejected else "ingest",
            unit_id=unit,
            subject=drop.drop_id,
            inputs=len(drop.files),
            outputs=len(images) + len(annotations),
            run_id=self._run_id,
            dataset=dataset,
        )
        life = self._lives[unit]
        assert life is not None
        self._taken[unit] = _Taken(finished, life, images, annotations, quarantine)
        return DropSummary(
            drop_id=drop.drop_id,
            source=drop.place.source,
            images=knowledge.add(content, splits),
            annotations=len(annotations),
            quarantined=len(quarantine),
            bad_fraction=content.bad_fraction,
            already_ingested=False,
            rejected=content.rejected,
            notes=tuple(_line(note) for note in notes),
        )

    def commit(self) -> None:
        """Commit the rows of all drops, table by table, and that they are finished last."""
        lives = {unit: taken.life for unit, taken in self._taken.items()}
        rows = self._taken.items()
        self._lake.append_units("images", {unit: of.images for unit, of in rows}, lives)
        self._lake.append_units("annotations", {unit: of.annotations for unit, of in rows}, lives)
        self._lake.append_units("quarantine", {unit: of.quarantine for unit, of in rows}, lives)
        self._lake.commit_units([of.finished for _, of in rows], lives)

    def _units(self, drop: SealedDrop) -> tuple[str, str]:
        """The units of taking a drop in, and of refusing it."""
        dataset = drop.place.dataset
        return (
            intake_unit(drop.drop_id, dataset),
            refusal_unit(drop.drop_id, dataset, self._limits),
        )

    def _is_done(self, unit: str) -> bool:
        # Two drops of a group may have the same content.
        return self._lives[unit] is None or unit in self._taken

    def _read(self, drop: SealedDrop) -> DropContent:
        place = drop.place
        source = self._sources.get(place.root) or open_store(place.root)
        self._sources[place.root] = source
        images = store_images(
            source,
            self._target,
            drop,
            max_px=self._limits.max_image_px,
            max_bytes=self._limits.max_image_bytes,
            progress=self._progress,
        )
        return match_documents(source, drop, images, max_bytes=self._limits.max_json_bytes)


def _nothing_to_do(drop: SealedDrop, *, rejected: bool) -> DropSummary:
    return DropSummary(
        drop_id=drop.drop_id,
        source=drop.place.source,
        images=0,
        annotations=0,
        quarantined=0,
        bad_fraction=1.0 if rejected else 0.0,
        already_ingested=True,
        rejected=rejected,
    )


def _line(note: Finding) -> str:
    return f"{note.rule} {note.file}{note.pointer}: {note.value} (expected {note.expected})"


def _image_rows(
    content: DropContent,
    drop: SealedDrop,
    splits: Mapping[str, str],
) -> list[dict[str, Any]]:
    """One row for each image of the drop; equal bytes are one image.

    Readers see one row of an image that the dataset holds already. That of another drop is there
    for when the first one is retracted.
    """
    now = datetime.now(UTC)
    rows: dict[str, dict[str, Any]] = {}
    for image in content.images.values():
        stored = image.stored
        if stored.image_id in rows:
            continue
        rows[stored.image_id] = {
            "image_id": stored.image_id,
            "dataset": drop.place.dataset,
            "source_id": image.source_id,
            "file_name": image.file_name,
            "uri": stored.uri,
            "width_px": stored.width_px,
            "height_px": stored.height_px,
            "exif_orientation": stored.exif_orientation,
            "split": splits[stored.image_id],
            "perceptual_hash": stored.perceptual_hash,
            "drop_id": drop.drop_id,
            "ingested_at": now,
        }
    return list(rows.values())
