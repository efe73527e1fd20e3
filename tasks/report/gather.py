"""Read the figures and pictures of a report from the lake."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import duckdb

from storage.lake import Lake
from storage.objects import ObjectNotFoundError, ObjectStore
from storage.session import connect
from storage.settings import get_settings
from storage.versions import Versions
from tasks.device_use import DeviceUse
from tasks.report.data import (
    LabelRow,
    PageOverlay,
    Progress,
    QuarantineRow,
    ReportData,
    StageTime,
    Totals,
)
from tasks.report.pages import page_overlay
from vision.draw.colors import UNKNOWN
from vision.draw.overlay import DrawnSegment
from vision.images import ImageError, decode_image

STAGE = "report"

# Pictures of one report, before base64 adds a third.
_PICTURES_BYTES = 4_300_000

# Rows of the quarantine that a person might still read one by one.
_MOST_QUARANTINE_ROWS = 300

# A view's rows narrowed to what the report is about. The same bytes may be known under two names
# or in two datasets, so images are matched by membership: a join would count segments twice.
_CHOSEN = """
CREATE OR REPLACE TEMP TABLE chosen_images AS
SELECT image_id, min(file_name) AS file_name, min(uri) AS uri
FROM images WHERE $dataset::VARCHAR IS NULL OR dataset = $dataset::VARCHAR GROUP BY image_id;
"""
_CHOSEN_SEGMENTS = """
CREATE OR REPLACE TEMP VIEW chosen_segments AS
SELECT s.* FROM segments AS s SEMI JOIN chosen_images USING (image_id)
SEMI JOIN chosen_run USING (model_id, params_id, label_set_id);
"""
_CHOSEN_RUN = """
CREATE OR REPLACE TEMP TABLE chosen_run AS
SELECT model_id, params_id, label_set_id FROM segments SEMI JOIN chosen_images USING (image_id)
WHERE ($model_id::VARCHAR IS NULL OR model_id = $model_id::VARCHAR)
  AND ($params_id::VARCHAR IS NULL OR params_id = $params_id::VARCHAR)
  AND ($label_set_id::VARCHAR IS NULL OR label_set_id = $label_set_id::VARCHAR)
ORDER BY created_at DESC LIMIT 1;
"""
_LABELS = """
SELECT label, count(*), count(DISTINCT image_id), sum(area_px)::DOUBLE, avg(area_px)::DOUBLE,
       median(area_px)::DOUBLE, avg(score)::DOUBLE
FROM chosen_segments GROUP BY label ORDER BY label = $unknown, count(*) DESC, label
"""
_TOTALS = """
SELECT (SELECT count(*) FROM chosen_images),
       (SELECT count(*) FROM annotations
        WHERE $dataset::VARCHAR IS NULL OR dataset = $dataset::VARCHAR),
       (SELECT count(*) FROM chosen_segments),
       (SELECT count(DISTINCT label) FROM chosen_segments WHERE label <> $unknown)
"""
_QUARANTINE = """
SELECT file, coalesce(pointer, ''), rule, coalesce(value, ''), stage, count(*) OVER () AS total
FROM quarantine
WHERE $dataset::VARCHAR IS NULL OR dataset = $dataset::VARCHAR
ORDER BY file, pointer, rule LIMIT $most
"""
_SEGMENTS_OF_PAGE = """
SELECT rle, label, score FROM chosen_segments
WHERE image_id = $image_id AND (coalesce(score, 0) >= $min_score OR label = $unknown)
ORDER BY segment_id
"""


def gather_report(
    lake: Lake,
    store: ObjectStore,
    *,
    dataset: str | None = None,
    model_id: str | None = None,
    params_id: str | None = None,
    label_set_id: str | None = None,
    title: str = "SegMill report",
    stages: Sequence[StageTime] = (),
    device: DeviceUse | None = None,
    max_pages: int = 24,
    min_score: float = 0.0,
    max_px: int | None = None,
    facts: Sequence[tuple[str, str]] = (),
    next_commands: Sequence[tuple[str, str]] = (),
    progress: Progress | None = None,
    versions: Versions | None = None,
) -> ReportData:
    """Collect what a report shows.

    Segments of one model, one set of parameters and one label set are shown: those given, and
    where one is not given, those of the newest matching segment.

    Args:
        lake: the tables.
        store: the objects of the same root, for the pictures.
        dataset: only this dataset; all of them by default.
        model_id: only segments of this model.
        params_id: only segments made with these parameters.
        label_set_id: only segments labelled from this set.
        title: heading of the report.
        stages: how long each stage of the run took.
        device: what the run took of its device.
        max_pages: most pictures in the gallery; more pages than that are sampled evenly.
        min_score: segments with a lower label score are left out of the pictures (not of the
            statistics).
        max_px: pictures with more pixels are left out; None takes the machine's `max_image_px`.
        facts: further (name, value) pairs for the foot of the report.
        next_commands: (what it does, command) pairs to try next.
        progress: told of each picture, under the stage name `report`.
        versions: older versions of tables to read, by table.

    Returns:
        The report's data.
    """
    most_px = get_settings().max_image_px if max_px is None else max_px
    chosen = {"model_id": model_id, "params_id": params_id, "label_set_id": label_set_id}
    with connect(lake, versions) as session:
        session.execute(_CHOSEN, {"dataset": dataset})
        session.execute(_CHOSEN_RUN, chosen)
        session.execute(_CHOSEN_SEGMENTS)
        run = session.execute("SELECT * FROM chosen_run").fetchone()
        labels = session.execute(_LABELS, {"unknown": UNKNOWN}).fetchall()
        page_count, mask_count, segment_count, label_count = session.execute(
            _TOTALS, {"unknown": UNKNOWN, "dataset": dataset}
        ).fetchone() or (0, 0, 0, 0)
        quarantine = session.execute(
            _QUARANTINE, {"dataset": dataset, "most": _MOST_QUARANTINE_ROWS}
        ).fetchall()
        datasets = session.execute("SELECT DISTINCT dataset FROM images ORDER BY 1").fetchall()
        pages = tuple(_pages(session, store, max_pages, min_score, most_px, progress))
    ids = zip(("model", "parameters", "label set"), run or (), strict=False)
    return ReportData(
        title=title,
        dataset=dataset or ", ".join(str(name) for (name,) in datasets) or "no data",
        created_at=datetime.now(UTC),
        totals=Totals(
            pages=page_count,
            masks=mask_count,
            segments=segment_count,
            labels=label_count,
            quarantined=quarantine[0][-1] if quarantine else 0,
        ),
        labels=tuple(LabelRow(*row) for row in labels),
        quarantine=tuple(QuarantineRow(*row[:-1]) for row in quarantine),
        stages=tuple(stages),
        device=device,
        pages=pages,
        facts=tuple((name, value) for name, value in (*ids, *facts) if value),
        next_commands=tuple(next_commands),
    )


def _pages(
    session: duckdb.DuckDBPyConnection,
    store: ObjectStore,
    max_pages: int,
    min_score: float,
    max_px: int,
    progress: Progress | None,
) -> Iterator[PageOverlay]:
    """Pictures of the gallery, by file name; those that cannot be read are left out."""
    images = session.execute(
        "SELECT image_id, file_name, uri FROM chosen_images ORDER BY file_name, image_id"
    ).fetchall()
    images = _evenly(images, max_pages)
    for number, (image_id, file_name, uri) in enumerate(images, start=1):
        try:
            picture = decode_image(store.read(image_key(image_id, uri)), max_px)
        except (ObjectNotFoundError, ImageError):
            picture = None
        if picture is not None:
            rows = session.execute(
                _SEGMENTS_OF_PAGE,
                {"image_id": image_id, "min_score": min_score, "unknown": UNKNOWN},
            ).fetchall()
            segments = [DrawnSegment(as_bytes(rle), label, score) for rle, label, score in rows]
            budget = _PICTURES_BYTES // max(len(images), 1)
            yield page_overlay(image_id, file_name, picture.rgb, segments, max_bytes=budget)
        if progress is not None:
            progress(STAGE, number, len(images), file_name)


def image_key(image_id: str, uri: str) -> str:
    """Key of a stored image, whichever root its `uri` was written for."""
    return f"images/{image_id[:2]}/{uri.rsplit('/', 1)[-1]}"


def as_bytes(rle: bytes | str) -> bytes:
    """COCO counts as ASCII bytes."""
    return rle.encode("ascii") if isinstance(rle, str) else bytes(rle)


def _evenly(rows: list[Any], most: int) -> list[Any]:
    """At most `most` rows at even distances, in order."""
    if len(rows) <= most:
        return rows
    return [rows[index * len(rows) // most] for index in range(most)]
