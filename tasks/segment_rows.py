"""Rows of `segments` and `quarantine` for what was found on an image."""

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from tasks.models import ModelChoice
from tasks.pending_images import PendingImage
from tasks.quarantine import quarantine_row
from vision.clip import LabelResult
from vision.coco import make_finding
from vision.masks import rle_area, rle_union
from vision.segmenter import Mask

Segments = Sequence[tuple[Mask, LabelResult]]


def segment_rows(
    image: PendingImage, choice: ModelChoice, run_id: str, found: Segments
) -> list[dict[str, Any]]:
    """One row of `segments` a mask, without its unit.

    Args:
        image: The image.
        choice: The models that found them.
        run_id: The run to name on each row.
        found: Masks with their labels; their parents are places in this list.
    """
    identity = (image.image_id, choice.model_id, choice.params_id, choice.label_set_id)
    about = "\0".join(identity).encode() + b"\0"
    # Half of a sha256 tells them apart as well, and is a sixth of a row less to store.
    ids = [hashlib.sha256(about + mask.rle).hexdigest()[:32] for mask, _ in found]
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


def image_label_rows(
    image: PendingImage, choice: ModelChoice, found: Segments
) -> list[dict[str, Any]]:
    """One row of `image_labels` for each label on an image, without its unit.

    Args:
        image: The image.
        choice: The models that found the segments.
        found: Masks with their labels.
    """
    masks_of: dict[str, list[Mask]] = defaultdict(list)
    for mask, result in found:
        masks_of[result.label].append(mask)
    return [
        {
            "image_id": image.image_id,
            "model_id": choice.model_id,
            "params_id": choice.params_id,
            "label_set_id": choice.label_set_id,
            "label": label,
            "count": len(masks),
            "total_area_px": sum(int(mask.area_px) for mask in masks),
            "union_area_px": rle_area(
                rle_union([mask.rle for mask in masks], image.height_px, image.width_px)
            ),
        }
        for label, masks in sorted(masks_of.items())
    ]


def refusal_row(image: PendingImage, rule: str, value: str) -> dict[str, Any]:
    """The row of `quarantine` of an image that cannot be segmented, without its unit."""
    finding = make_finding(image.file_name, "", rule, value)
    return quarantine_row(image.dataset, image.drop_id, finding, "segment")


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
