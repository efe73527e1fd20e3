"""Cut and name what is on a batch of images, as one unit."""

import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt
from prefect import task
from prefect.cache_policies import NO_CACHE

from storage.errors import ObjectNotFoundError
from storage.lake import Lake
from storage.objects import ObjectStore, open_store
from storage.queries import named_query
from storage.session import connect
from storage.units import unit_id
from tasks.image_inspection import image_failure
from tasks.models import LoadedModels, ModelChoice, compute_slots, load_models
from tasks.quarantine import quarantine_row
from vision.clip import LabelResult
from vision.coco import make_finding
from vision.images import ImageError, decode_image
from vision.segmenter import Mask

_LOADING = Lock()

_IMAGES = """
SELECT image_id, min(uri), min(file_name), min(drop_id), dataset FROM images
WHERE dataset = $dataset GROUP BY image_id, dataset ORDER BY image_id
"""


@dataclass(frozen=True)
class PendingImage:
    """An image that has no segments of the run's models yet."""

    image_id: str
    uri: str
    file_name: str
    drop_id: str
    dataset: str


@dataclass(frozen=True)
class BatchSummary:
    """What a batch gave; zeros where another run had committed it before."""

    images: int
    segments: int
    quarantined: int


@task(name="list-pending-images", cache_policy=NO_CACHE)
def list_pending_images(
    root: str, dataset: str, choice: ModelChoice, batch_images: int, limit: int | None = None
) -> list[list[PendingImage]]:
    """Batches of the dataset's images that these models have not finished.

    Batches never mix drops and depend on the drop alone, so that two runs at once form the same
    ones and the second finds them committed, even while other drops arrive.

    Args:
        root: The data root.
        dataset: The dataset.
        choice: The models of the run.
        batch_images: Images a batch.
        limit: Take at most this many batches.
    """
    scope = {
        "dataset": dataset,
        "model_id": choice.model_id,
        "params_id": choice.params_id,
        "label_set_id": choice.label_set_id,
    }
    with connect(Lake.open(root)) as session:
        pending = {
            row[0] for row in session.execute(named_query("pending_images"), scope).fetchall()
        }
        images = session.execute(_IMAGES, {"dataset": dataset}).fetchall()
    by_drop: dict[str, list[PendingImage]] = {}
    for row in images:
        image = PendingImage(*row)
        by_drop.setdefault(image.drop_id, []).append(image)
    batches = []
    for _, members in sorted(by_drop.items()):
        for start in range(0, len(members), batch_images):
            batch = [
                image
                for image in members[start : start + batch_images]
                if image.image_id in pending
            ]
            if batch:
                batches.append(batch)
    return batches[:limit]


@task(name="segment-batch", cache_policy=NO_CACHE, retries=2, retry_delay_seconds=10)
def segment_batch(
    batch: Sequence[PendingImage],
    *,
    root: str,
    choice: ModelChoice,
    run_id: str,
    device: str,
    max_image_px: int,
    on_image: Callable[[str], None] | None = None,
) -> BatchSummary:
    """Segment and label a batch of images and commit it; does nothing if it is committed.

    Args:
        batch: The images.
        root: The data root.
        choice: The models of the run.
        run_id: The run to name on each row.
        device: `cpu`, `cuda`, `mps`, or `auto`.
        max_image_px: Largest number of pixels of an image.
        on_image: Called with the name of each image when it is done.
    """
    lake, store = Lake.open(root), open_store(root)
    image_ids = [image.image_id for image in batch]
    unit = unit_id(
        "segment",
        image_ids,
        model_id=choice.model_id,
        params_id=choice.params_id,
        label_set_id=choice.label_set_id,
    )
    if lake.has_unit("units", unit):
        return BatchSummary(0, 0, 0)
    segments: list[dict[str, Any]] = []
    quarantine: list[dict[str, Any]] = []
    with _LOADING:
        models = load_models(choice, device)
        slots = compute_slots(device)

    def work(image: PendingImage) -> list[tuple[Mask, LabelResult]] | dict[str, Any]:
        try:
            rgb = _read_image(store, image, max_image_px)
        except (ImageError, ObjectNotFoundError) as error:
            return _unreadable(image, error)
        with slots.semaphore:
            return segment_image(models, rgb)

    # One more than compute: it reads and decodes the next image meanwhile.
    with ThreadPoolExecutor(slots.count + 1) as threads:
        for image, found in zip(batch, threads.map(work, batch), strict=True):
            if isinstance(found, dict):
                quarantine.append(found)
            else:
                segments += _rows(image, choice, run_id, found)
            if on_image:
                on_image(image.file_name)
    # A report reads by label; one sorted file per unit lets it skip the rest.
    segments.sort(key=lambda row: (row["label"], row["image_id"]))
    lake.append("segments", segments, unit)
    lake.append("quarantine", quarantine, unit)
    lake.commit_unit(
        stage="segment",
        unit_id=unit,
        subject=batch[0].drop_id,
        inputs=len(batch),
        outputs=len(segments),
        run_id=run_id,
        image_ids=image_ids,
        model_id=choice.model_id,
        params_id=choice.params_id,
        label_set_id=choice.label_set_id,
    )
    return BatchSummary(len(batch) - len(quarantine), len(segments), len(quarantine))


def segment_image(
    models: LoadedModels, rgb: npt.NDArray[np.uint8]
) -> list[tuple[Mask, LabelResult]]:
    """Every mask of an image with its label.

    Args:
        models: The models.
        rgb: Image (h, w, 3), uint8, RGB.
    """
    masks = models.segmenter.segment(rgb)
    labels = models.labeller.label(rgb, masks) if masks else []
    return list(zip(masks, labels, strict=True))


def _read_image(store: ObjectStore, image: PendingImage, max_px: int) -> npt.NDArray[np.uint8]:
    # By id and ending, so that a root that was moved or mounted elsewhere still works.
    key = f"images/{image.image_id[:2]}/{image.uri.rsplit('/', 1)[-1]}"
    data = store.read(key)
    if hashlib.sha256(data).hexdigest() != image.image_id:
        raise ImageError("image.corrupt", f"other bytes than ingested: {image.uri}")
    return decode_image(data, max_px).rgb


def _unreadable(image: PendingImage, error: ImageError | ObjectNotFoundError) -> dict[str, Any]:
    if isinstance(error, ObjectNotFoundError):
        finding = make_finding(image.file_name, "", "image.missing", image.uri)
    else:
        failure = image_failure(error)
        finding = make_finding(image.file_name, "", failure.rule, failure.value)
    return quarantine_row(image.dataset, image.drop_id, finding, "segment")


def _rows(
    image: PendingImage,
    choice: ModelChoice,
    run_id: str,
    found: Sequence[tuple[Mask, LabelResult]],
) -> list[dict[str, Any]]:
    identity = (image.image_id, choice.model_id, choice.params_id, choice.label_set_id)
    about = "\0".join(identity).encode() + b"\0"
    ids = [hashlib.sha256(about + mask.rle).hexdigest() for mask, _ in found]
    same_in_all = {
        "image_id": image.image_id,
        "source": "automatic",
        "model_id": choice.model_id,
        "params_id": choice.params_id,
        "label_set_id": choice.label_set_id,
        "isthing": None,
        "frame": None,
        "track_id": None,
        "run_id": run_id,
        "created_at": datetime.now(UTC),
        "code_version": version("segmill"),
    }
    return [
        same_in_all
        | _measured(mask, label)
        | {"segment_id": own, "parent_id": None if mask.parent is None else ids[mask.parent]}
        for own, (mask, label) in zip(ids, found, strict=True)
    ]


def _measured(mask: Mask, label: LabelResult) -> dict[str, Any]:
    return {
        "label": label.label,
        "score": float(label.score),
        "margin": float(label.margin),
        "top": [
            {"label": name, "cosine": float(cosine), "probability": float(probability)}
            for name, cosine, probability in label.top
        ],
        "area_px": int(mask.area_px),
        "bbox_xywh": [float(value) for value in mask.bbox_xywh],
        "predicted_iou": float(mask.predicted_iou),
        "stability_score": float(mask.stability_score),
        "point_xy": [float(value) for value in mask.point_xy],
        "crop_box_xywh": [float(value) for value in mask.crop_box_xywh],
        "rle": mask.rle.decode("ascii"),
    }
