"""Take a sealed drop in: its images, annotations, masks and what is wrong with it, as one unit."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

from prefect import task
from prefect.cache_policies import NO_CACHE

from storage.lake import Lake
from storage.objects import open_store
from storage.session import connect
from storage.units import unit_id
from tasks.drop_annotations import MAIN_DOCUMENT, DropContent, match_documents
from tasks.drop_images import SplitDrawer, store_images
from tasks.drops import SealedDrop
from tasks.mask_files import write_masks
from tasks.quarantine import quarantine_row
from tasks.report.data import Progress
from vision.coco import Finding, make_finding

_CATEGORIES = """
SELECT DISTINCT category FROM annotations WHERE dataset = $dataset
"""
_KNOWN = "SELECT image_id, split, perceptual_hash FROM images WHERE dataset = $dataset"


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


class KnownImage(NamedTuple):
    """An image that the dataset holds."""

    split: str
    perceptual_hash: str | None


@task(name="ingest-drop", task_run_name="ingest-{drop.place.prefix}", cache_policy=NO_CACHE)
def ingest_drop(
    root: str,
    drop: SealedDrop,
    *,
    run_id: str,
    max_image_px: int,
    max_image_bytes: int,
    max_json_bytes: int,
    progress: Progress | None = None,
) -> DropSummary:
    """Ingest one drop; does nothing if the same content is in the dataset already.

    A drop that is refused as a whole is remembered with the limits that it was held against: with
    other limits it is looked at again.

    Args:
        root: The data root.
        drop: The sealed drop.
        run_id: The run to name in the unit's row.
        max_image_px: Largest number of pixels of an image.
        max_image_bytes: Largest size of an image file.
        max_json_bytes: Largest size of a COCO document.
        progress: Told after each image and each mask.

    Raises:
        DropChangedError: If a file was overwritten after sealing.
    """
    lake = Lake.open(root)
    unit = unit_id("ingest", [drop.drop_id], dataset=drop.place.dataset)
    life = lake.life(unit)
    if life is None:
        return DropSummary(drop.drop_id, drop.place.source, 0, 0, 0, 0.0, already_ingested=True)
    limits = (max_image_px, max_image_bytes, max_json_bytes)
    refusal = unit_id("reject", [drop.drop_id], dataset=drop.place.dataset, limits=limits)
    life_of_refusal = lake.life(refusal)
    if life_of_refusal is None:
        return DropSummary(
            drop.drop_id, drop.place.source, 0, 0, 0, 1.0, already_ingested=True, rejected=True
        )
    source, target = open_store(drop.place.root), open_store(root)
    images = store_images(
        source,
        target,
        drop,
        max_px=max_image_px,
        max_bytes=max_image_bytes,
        progress=progress,
    )
    content = match_documents(source, drop, images, max_bytes=max_json_bytes)
    renamed = _new_categories(lake, drop.place.dataset, content)
    known = _known_images(lake, drop.place.dataset)
    splits = _splits(content, known)
    image_rows = _image_rows(content, drop, splits)
    annotation_rows = write_masks(target, drop.place.dataset, content.annotations, splits, progress)
    for row in annotation_rows:
        row["drop_id"] = drop.drop_id
    quarantine = [
        quarantine_row(drop.place.dataset, drop.drop_id, found, "ingest")
        for found in content.findings
    ]
    if content.rejected:
        unit, life = refusal, life_of_refusal
    lake.append("images", image_rows, unit, life)
    lake.append("annotations", annotation_rows, unit, life)
    lake.append("quarantine", quarantine, unit, life)
    lake.commit_unit(
        stage="reject" if content.rejected else "ingest",
        unit_id=unit,
        subject=drop.drop_id,
        inputs=len(drop.files),
        outputs=len(image_rows) + len(annotation_rows),
        run_id=run_id,
        life=life,
    )
    return DropSummary(
        drop_id=drop.drop_id,
        source=drop.place.source,
        images=sum(row["image_id"] not in known for row in image_rows),
        annotations=len(annotation_rows),
        quarantined=len(quarantine),
        bad_fraction=content.bad_fraction,
        already_ingested=False,
        rejected=content.rejected,
        notes=tuple(_line(note) for note in [*content.notes, *renamed]),
    )


def _line(note: Finding) -> str:
    return f"{note.rule} {note.file}{note.pointer}: {note.value} (expected {note.expected})"


def _new_categories(lake: Lake, dataset: str, content: DropContent) -> list[Finding]:
    """A note where a drop brings categories that a dataset with annotations has not seen yet.

    A renamed category looks just so, and is then counted apart from the old one.
    """
    with connect(lake) as session:
        known = {name for (name,) in session.execute(_CATEGORIES, {"dataset": dataset}).fetchall()}
    new = sorted({annotation.category for _, annotation in content.annotations} - known)
    if not known or not new:
        return []
    return [make_finding(MAIN_DOCUMENT, "/categories", "category.new", ", ".join(new))]


def _splits(content: DropContent, known: Mapping[str, KnownImage]) -> dict[str, str]:
    """The split of each image: the known one, the one its document says, else one drawn."""
    images = {image.stored.image_id: image for image in content.images.values()}
    splits = {
        image_id: known[image_id].split if image_id in known else image.split
        for image_id, image in images.items()
    }
    drawer = SplitDrawer()
    for image in known.values():
        if image.perceptual_hash:
            drawer.remember(image.perceptual_hash, image.split)
    for image_id, split in splits.items():
        if split:
            drawer.remember(images[image_id].stored.perceptual_hash, split)
    return {
        image_id: split or drawer.draw(images[image_id].stored.perceptual_hash)
        for image_id, split in splits.items()
    }


def _known_images(lake: Lake, dataset: str) -> dict[str, KnownImage]:
    """The images that the dataset holds, by id."""
    with connect(lake) as session:
        rows = session.execute(_KNOWN, {"dataset": dataset}).fetchall()
    return {image_id: KnownImage(split, looks) for image_id, split, looks in rows}


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
