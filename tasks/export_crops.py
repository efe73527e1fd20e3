"""Write each segment as a picture of its own, sorted into a folder per label."""

import hashlib
import os
import re
import tempfile
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

import cv2
import duckdb
import numpy as np
import numpy.typing as npt

from storage.lake import Lake
from storage.objects import ObjectNotFoundError, ObjectStore
from storage.session import connect
from storage.settings import get_settings
from storage.versions import Versions
from tasks.report.data import Progress
from tasks.report.gather import as_bytes, image_key
from vision.draw.contours import mask_box
from vision.images import ImageError, decode_image
from vision.masks.rle import rle_to_mask

STAGE = "export crops"

Background = Literal["transparent", "white", "keep"]

_FETCH_ROWS = 2_000
_NAME_LENGTH = 48
# Names that Windows keeps for devices, in whatever folder.
_RESERVED = {"con", "prn", "aux", "nul"} | {f"{n}{i}" for n in ("com", "lpt") for i in range(1, 10)}

_SEGMENTS = """
WITH known AS (
  SELECT image_id, min(uri) AS uri FROM images
  WHERE $dataset::VARCHAR IS NULL OR dataset = $dataset::VARCHAR GROUP BY image_id
), best AS (
  SELECT s.image_id, k.uri, s.segment_id, s.label, coalesce(s.score, 0) AS score, s.rle
  FROM segments AS s JOIN known AS k USING (image_id)
  WHERE coalesce(s.score, 0) >= $min_score
    AND ($label::VARCHAR IS NULL OR s.label = $label::VARCHAR)
  ORDER BY coalesce(s.score, 0) DESC, s.segment_id LIMIT $most
)
SELECT * FROM best ORDER BY image_id, segment_id
"""


@dataclass(frozen=True)
class CropsSummary:
    """What an export did.

    Attributes:
        written: new pictures.
        skipped: pictures that were there from an earlier export.
        images: images the pictures came from.
        unreadable_images: images whose bytes are gone, broken or of too many pixels; their
            segments are left out.
        labels: pictures, new and old, per label.
        output: the folder.
    """

    written: int
    skipped: int
    images: int
    unreadable_images: int
    labels: Mapping[str, int]
    output: str


def export_crops(
    lake: Lake,
    store: ObjectStore,
    output: Path,
    *,
    label: str | None = None,
    min_score: float = 0.0,
    limit: int | None = None,
    dataset: str | None = None,
    background: Background = "transparent",
    max_px: int | None = None,
    versions: Versions | None = None,
    progress: Progress | None = None,
) -> CropsSummary:
    """Write segments as `OUTPUT/<label>/<image>/[label]_[id]_[confidence].png`.

    Pictures that exist are left alone and each new one appears whole or not at all, so an export
    that was stopped goes on where it was when it is run again.

    Args:
        lake: the tables.
        store: the objects of the same root.
        output: folder to write to; it is made.
        label: only segments with this label.
        min_score: only segments whose label scored at least this, 0-1.
        limit: only that many segments, the highest scores first.
        dataset: only images of this dataset.
        background: what becomes of the pixels beside the segment: `transparent` (RGBA),
            `white`, or `keep` (a plain rectangle).
        max_px: images with more pixels are left out; None takes the machine's `max_image_px`.
        versions: older versions of tables to read, by table.
        progress: told after each segment, under the stage name `export crops`.

    Returns:
        What was written.

    Raises:
        ValueError: `background` or `limit` is none of the above.
    """
    if background not in ("transparent", "white", "keep"):
        raise ValueError(f"background must be transparent, white or keep, but is {background!r}")
    if limit is not None and limit < 0:
        raise ValueError(f"limit must not be negative, but is {limit}")
    most_px = get_settings().max_image_px if max_px is None else max_px
    wanted = {
        "dataset": dataset,
        "label": label,
        "min_score": min_score,
        # DuckDB takes no NULL here.
        "most": 2**62 if limit is None else limit,
    }
    written = skipped = images = unreadable = done = 0
    labels: Counter[str] = Counter()
    with connect(lake, versions) as session:
        slugs = label_slugs(
            name for (name,) in session.execute("SELECT DISTINCT label FROM segments").fetchall()
        )
        session.execute(f"CREATE TEMP TABLE crops AS {_SEGMENTS}", wanted)
        (total,) = session.execute("SELECT count(*) FROM crops").fetchone() or (0,)
        session.execute("SELECT * FROM crops ORDER BY image_id, segment_id")
        for (image_id, uri), rows in groupby(_rows(session), key=lambda row: (row[0], row[1])):
            segments = list(rows)
            images += 1
            targets = {
                segment_id: output
                / slugs[name]
                / image_id[:12]
                / f"{slugs[name]}_{segment_id[:12]}_{score:.2f}.png"
                for _, _, segment_id, name, score, _ in segments
            }
            missing = {i for i, path in targets.items() if not path.exists()}
            rgb = _picture(store, image_id, uri, most_px) if missing else None
            if missing and rgb is None:
                unreadable += 1
            for _, _, segment_id, name, _, rle in segments:
                done += 1
                if segment_id not in missing:
                    skipped += 1
                    labels[name] += 1
                elif rgb is not None:
                    mask = rle_to_mask(as_bytes(rle), rgb.shape[0], rgb.shape[1])
                    _write_whole(targets[segment_id], crop_png(rgb, mask, background))
                    written += 1
                    labels[name] += 1
                if progress is not None:
                    progress(STAGE, done, total, name)
    return CropsSummary(written, skipped, images, unreadable, dict(labels), str(output))


def crop_png(
    rgb: npt.NDArray[np.uint8], mask: npt.NDArray[np.bool_], background: Background = "transparent"
) -> bytes:
    """Cut a segment out of its picture.

    Args:
        rgb: uint8 (h, w, 3).
        mask: bool (h, w); it may be empty, then the crop is a single pixel.
        background: what becomes of the pixels beside the segment.

    Returns:
        A PNG the size of the mask's box: RGBA for `transparent`, else RGB.
    """
    box = mask_box(mask)
    left, top, width, height = (int(value) for value in box) if box else (0, 0, 1, 1)
    window = (slice(top, top + height), slice(left, left + width))
    pixels, inside = rgb[window], mask[window]
    if background == "white":
        pixels = np.where(inside[:, :, None], pixels, np.uint8(255))
    if background == "transparent":
        # Hidden colours are blanked too: they would leak in viewers that ignore alpha.
        hidden = np.where(inside[:, :, None], pixels, np.uint8(0))
        alpha = inside[:, :, None].astype(np.uint8) * 255
        picture = np.concatenate([hidden[:, :, ::-1], alpha], axis=2)
    else:
        picture = np.ascontiguousarray(pixels[:, :, ::-1])
    _, data = cv2.imencode(".png", picture, (cv2.IMWRITE_PNG_COMPRESSION, 3))
    return data.tobytes()


def label_slugs(labels: Iterable[str]) -> dict[str, str]:
    """Name a folder for each label, safe on every file system and different for each label.

    Args:
        labels: label names, any text.

    Returns:
        Label to lower-case ASCII letters, digits and `-`. Where nothing or nothing distinct
        remains of a label, a piece of its hash is added.
    """
    names = sorted(set(labels))
    plain = {name: _plain_slug(name) for name in names}
    uses = Counter(plain.values())
    slugs = {}
    for name, slug in plain.items():
        taken = uses[slug] > 1 and slug != name
        if not slug or slug in _RESERVED or taken:
            digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:8]
            slug = f"{slug}-{digest}" if slug else f"label-{digest}"
        slugs[name] = slug
    return slugs


def _plain_slug(name: str) -> str:
    ascii_name = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]+", "-", ascii_name.lower()).strip("-")[:_NAME_LENGTH].strip("-")


def _rows(session: duckdb.DuckDBPyConnection) -> Iterator[tuple[Any, ...]]:
    while rows := session.fetchmany(_FETCH_ROWS):
        yield from rows


def _picture(
    store: ObjectStore, image_id: str, uri: str, max_px: int
) -> npt.NDArray[np.uint8] | None:
    try:
        return decode_image(store.read(image_key(image_id, uri)), max_px).rgb
    except (ObjectNotFoundError, ImageError):
        return None


def _write_whole(path: Path, data: bytes) -> None:
    """Write a file that is never seen half-written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".crop-", suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
