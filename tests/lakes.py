"""Small lakes that can be counted by hand."""

import itertools
from datetime import UTC, datetime

NIGHT = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)
_numbers = itertools.count()


def image_row(image_id, **values):
    row = {
        "image_id": image_id,
        "dataset": "comics",
        "source_id": "1",
        "file_name": f"{image_id}.png",
        "uri": f"images/{image_id}.png",
        "width_px": 40,
        "height_px": 30,
        "exif_orientation": 1,
        "split": "train",
        "drop_id": "drop",
        "ingested_at": NIGHT,
    }
    return row | values


def segment_row(image_id, label="panel", **values):
    row = {
        "segment_id": f"segment-{next(_numbers):04}",
        "image_id": image_id,
        "source": "automatic",
        "model_id": "model",
        "params_id": "params",
        "label_set_id": "labels",
        "label": label,
        "score": 0.75,
        "margin": 0.5,
        "top": [
            {"label": label, "cosine": 0.3, "probability": 0.75},
            {"label": "text", "cosine": 0.2, "probability": 0.25},
        ],
        "area_px": 12,
        "bbox_xywh": [1.0, 2.0, 3.0, 4.0],
        "created_at": NIGHT,
        "rle": "P14j0000fQ1",  # of this box
    }
    return row | values


def review_row(segment_id, decision="accept", **values):
    row = {
        "review_id": f"review-{next(_numbers):04}",
        "segment_id": segment_id,
        "image_id": "a",
        "decision": decision,
        "reviewer": "amy",
        "decided_at": NIGHT,
        "version": 1,
        "table_version": 1,
    }
    return row | values


def refused_row(rule, **values):
    row = {
        "dataset": "comics",
        "drop_id": "drop",
        "file": "annotations.json",
        "pointer": "/annotations/1",
        "rule": rule,
        "value": "[1]",
        "stage": "ingest",
        "at": NIGHT,
    }
    return row | values


def ingest(lake, unit, images, refused=()):
    if refused:
        lake.append("quarantine", list(refused), unit)
    lake.append("images", images, unit)
    lake.commit_unit(stage="ingest", unit_id=unit, subject="drop", inputs=1, outputs=len(images))


def cut(lake, unit, images, segments, *, device_seconds=None, device=None, run_id=None, **settings):
    """Store segments as one unit of work with these settings, on images with and without any."""
    ids = {"model_id": "model", "params_id": "params", "label_set_id": "labels"} | settings
    lake.append("segments", [row | ids for row in segments], unit)
    lake.commit_unit(
        stage="segment",
        unit_id=unit,
        subject="batch",
        inputs=len(images),
        outputs=len(segments),
        image_ids=images,
        run_id=run_id,
        device_seconds=device_seconds,
        device=device,
        **ids,
    )
