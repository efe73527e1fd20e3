"""The lake at millions of rows: writing, statistics, and one label's or image's rows.

    python -m benchmarks.lake --json FILE
    python -m benchmarks.lake --rows 50000000 --commits 0 --no-peers

The same made-up segments are stored as Delta units, as CSV (read with pandas, where that is
installed) and as COCO JSON, and counted by label with an exact median, in turns. Small commits are
compacted, and the same questions asked before and after. Units are written on one core.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from functools import partial
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pc
from pycocotools.coco import COCO

from benchmarks.measuring import in_turns, peak_mb
from benchmarks.record import write_record
from storage.lake import Lake
from storage.maintenance import maintain_table
from storage.queries import named_query
from storage.session import connect

LABELS = 80
SEGMENTS_AN_IMAGE = 100
MODELS: dict[str, Any] = {"model_id": "model", "params_id": "params", "label_set_id": "labels"}
STATS = """
SELECT label, count(*) AS segments, avg(area_px) AS mean_px, median(area_px) AS median_px,
    avg(score) AS score
FROM segments GROUP BY label ORDER BY label
"""
# One with about as many rows as labels have in the mean.
ONE_LABEL = "SELECT * FROM segments WHERE label = 'label 09'"


def made_segments(rows: int, seed: int) -> pa.Table:
    """Segments with ids, scores, boxes and counts as long and as random as real ones.

    Args:
        rows: How many; a hundred an image.
        seed: Same seed, same rows.
    """
    rng = np.random.default_rng(seed)
    images = _hex(rng, -(-rows // SEGMENTS_AN_IMAGE), 64)
    ranks = np.minimum(rng.zipf(1.4, rows), LABELS) - 1
    boxes = rng.integers(0, 1000, rows * 4).astype(float)
    made = pa.table(
        {
            "segment_id": pa.array(_hex(rng, rows, 32)),
            "image_id": pa.array(
                images[np.repeat(np.arange(len(images)), SEGMENTS_AN_IMAGE)[:rows]]
            ),
            "source": _same("automatic", rows),
            "model_id": _same("model", rows),
            "params_id": _same("params", rows),
            "label_set_id": _same("labels", rows),
            "label": pa.array(np.array([f"label {rank:02d}" for rank in range(LABELS)])[ranks]),
            "score": pa.array(rng.random(rows).round(4)),
            "margin": pa.array(rng.random(rows).round(4)),
            "top": pa.array([[]] * rows, pa.list_(_TOP)),
            "area_px": pa.array(rng.lognormal(8, 1.5, rows).astype(np.int64) + 1),
            "bbox_xywh": pa.ListArray.from_arrays(range(0, 4 * rows + 1, 4), boxes),
            "created_at": pa.array(np.zeros(rows, np.int64), pa.timestamp("us", tz="UTC")),
            "rle": pa.array(_text(rng, rows, 40)),
        }
    )
    # As the engine writes them.
    return made.sort_by([("label", "ascending"), ("image_id", "ascending")])


_TOP = pa.struct([("label", pa.string()), ("cosine", pa.float64()), ("probability", pa.float64())])


def _same(text: str, rows: int) -> pa.Array:
    return pa.repeat(pa.scalar(text), rows)


def _hex(rng: np.random.Generator, count: int, digits: int) -> np.ndarray[Any, Any]:
    raw = rng.bytes(digits // 2 * count).hex()
    return np.frombuffer(raw.encode(), f"S{digits}").astype(str)


def _text(rng: np.random.Generator, count: int, length: int) -> np.ndarray[Any, Any]:
    return rng.integers(48, 111, (count, length), np.uint8).view(f"S{length}").ravel().astype(str)


def write_units(lake: Lake, rows: int, unit_rows: int) -> list[float]:
    """Commit units of segments; returns the seconds of each commit, without making the rows."""
    seconds = []
    for number, start in enumerate(range(0, rows, unit_rows)):
        data = made_segments(min(unit_rows, rows - start), number)
        unit = f"unit-{number:06d}"
        images = sorted(set(data["image_id"].to_pylist()))
        began = time.perf_counter()
        lake.append("segments", data, unit)
        seconds.append(time.perf_counter() - began)
        lake.commit_unit(
            stage="segment", unit_id=unit, subject="made", inputs=len(images), outputs=len(data),
            image_ids=images, **MODELS,
        )  # fmt: skip
    return seconds


def write_statistics(lake: Lake) -> None:
    """Store statistics by label, as the nightly count does."""
    label_stats = f"""
        SELECT 'made' AS dataset, model_id, params_id, label_set_id, label, count(*) AS count,
            count(DISTINCT image_id) AS images, sum(area_px)::BIGINT AS total_area_px,
            avg(area_px) AS mean_area_px, median(area_px) AS median_area_px,
            min(area_px) AS min_area_px, max(area_px) AS max_area_px, avg(score) AS mean_score,
            0.0::DOUBLE AS unknown_share, {lake.version("segments")} AS computed_from
        FROM segments GROUP BY ALL
    """
    with connect(lake) as session:
        rows = session.sql(label_stats).to_arrow_table()
    lake.append("label_stats", rows, "count")
    lake.commit_unit(
        stage="stats", unit_id="count", subject="made", inputs=1, outputs=len(rows), **MODELS
    )


def ask(lake: Lake, sql: str) -> pa.Table:
    """Open a session and answer one question, as every command does."""
    with connect(lake) as session:
        return session.sql(sql).to_arrow_table()


def json_stats(path: Path) -> int:
    """Load COCO annotations with pycocotools and count them by category."""
    with redirect_stdout(StringIO()):
        coco = COCO(path)
    areas: dict[int, list[int]] = {}
    for annotation in coco.loadAnns(coco.getAnnIds()):
        areas.setdefault(annotation["category_id"], []).append(annotation["area"])
    return len({label: (len(of), np.mean(of), np.median(of)) for label, of in areas.items()})


def pandas_stats(path: Path) -> int:
    """The same with pandas."""
    import pandas

    frame = pandas.read_csv(path)
    found = frame.groupby("label").agg({"area_px": ["size", "mean", "median"], "score": "mean"})
    return len(found)


def write_peers(folder: Path, lake: Lake, json_rows: int) -> tuple[Path, Path]:
    """The segments as CSV, and the first of them as COCO JSON."""
    csv_path, json_path = folder / "segments.csv", folder / "segments.json"
    # All that these segments have: the other columns are null.
    columns = (
        "unit_id, segment_id, image_id, source, model_id, params_id, label_set_id, label, score, "
        "margin, area_px, bbox_xywh[1] AS x, bbox_xywh[2] AS y, bbox_xywh[3] AS width, "
        "bbox_xywh[4] AS height, created_at, rle"
    )
    with connect(lake) as session:
        reader = session.sql(f"SELECT {columns} FROM segments").to_arrow_reader(100_000)
        with pc.CSVWriter(csv_path, reader.schema) as writer:
            for batch in reader:
                writer.write_batch(batch)
        rows = session.execute(
            "SELECT segment_id, image_id, label, score, area_px, bbox_xywh, rle FROM segments "
            "LIMIT ?", [json_rows]
        ).fetchall()  # fmt: skip
    categories = {f"label {number:02d}": number for number in range(LABELS)}
    annotations = [
        {
            "id": segment_id,
            "image_id": image_id,
            "category_id": categories[label],
            "score": score,
            "area": area_px,
            "bbox": bbox_xywh,
            "iscrowd": 0,
            "segmentation": {"size": [1000, 1000], "counts": rle},
        }
        for segment_id, image_id, label, score, area_px, bbox_xywh, rle in rows
    ]
    document = {
        "images": [{"id": image_id} for image_id in {row[1] for row in rows}],
        "annotations": annotations,
        "categories": [{"id": number, "name": name} for name, number in categories.items()],
    }
    json_path.write_text(json.dumps(document))
    return csv_path, json_path


def compaction(folder: Path, commits: int, rounds: int) -> dict[str, float | None]:
    """Statistics and one label's rows before and after small commits become few files."""
    lake = Lake.open(str(folder / "small"))
    write_units(lake, commits * SEGMENTS_AN_IMAGE, SEGMENTS_AN_IMAGE)
    checksum = "SELECT count(*), sum(hash(stored.segments)) FROM stored.segments"

    def timed() -> list[float]:
        questions = [partial(ask, lake, sql) for sql in (STATS, ONE_LABEL)]
        return [seconds for seconds, _ in in_turns(rounds, *questions)]

    before, rows = timed(), ask(lake, checksum)
    for table in ("segments", "units"):
        maintain_table(lake, table)
    after = timed()
    assert ask(lake, checksum) == rows, "compaction changed the rows"
    return {
        "compaction_stats_speedup": before[0] / after[0],
        "compaction_label_speedup": before[1] / after[1],
    }


def questions(lake: Lake, rounds: int) -> dict[str, float | None]:
    """Milliseconds of questions in an open session, and memory of one in a new process."""
    with connect(lake) as session:
        ((image_id,),) = session.execute("SELECT min(image_id) FROM stored.segments").fetchall()

        def answer(sql: str) -> pa.Table:
            return session.sql(sql).to_arrow_table()

        asked = {
            "one_label_ms": ONE_LABEL,
            "one_image_ms": f"SELECT * FROM segments WHERE image_id = '{image_id}'",
            "partials_ms": named_query("latest_label_stats"),
        }
        found = in_turns(rounds, *(partial(answer, sql) for sql in asked.values()))
    took: dict[str, float | None] = {
        name: 1000 * seconds for name, (seconds, _) in zip(asked, found, strict=True)
    }
    ((cold, _),) = in_turns(rounds, partial(ask, lake, STATS))
    child = subprocess.run(
        [sys.executable, "-m", "benchmarks.lake", "--peak-memory-of", lake.root],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    return took | {
        "one_label_rows": len(found[0][1]),
        "stats_with_session_ms": 1000 * cold,
        "stats_peak_mb": float(child.stdout),
    }


def against_peers(
    folder: Path, lake: Lake, rows: int, json_rows: int, rounds: int
) -> dict[str, float | None]:
    """Statistics from the lake, from CSV with pandas, and from COCO JSON, in turns."""
    csv_path, json_path = write_peers(folder, lake, json_rows)
    with connect(lake) as session:

        def stats() -> pa.Table:
            return session.sql(STATS).to_arrow_table()

        peers: list[Callable[[], Any]] = [partial(json_stats, json_path)]
        if find_spec("pandas"):
            peers.append(partial(pandas_stats, csv_path))
        (ours, _), (of_json, _), *of_pandas = in_turns(rounds, stats, *peers)
    return {
        "stats_speedup_vs_pandas_csv": of_pandas[0][0] / ours if of_pandas else None,
        "stats_speedup_vs_coco_json": of_json * rows / json_rows / ours,
        "stats_ms": 1000 * ours,
    }


def main() -> None:
    """Read the command line, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rows", type=int, default=5_000_000)
    parser.add_argument("--unit-rows", type=int, default=500_000)
    parser.add_argument("--json-rows", type=int, default=500_000, help="scaled up to --rows")
    parser.add_argument("--commits", type=int, default=10_000, help="small ones; 0 leaves it out")
    parser.add_argument("--no-peers", action="store_true", help="time the lake alone")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--peak-memory-of", metavar="LAKE", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peak_memory_of:
        ask(Lake(options.peak_memory_of), STATS)
        print(peak_mb())
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        lake = Lake.open(name)
        cores = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {max(cores)})
        seconds = write_units(lake, options.rows, options.unit_rows)
        os.sched_setaffinity(0, cores)
        size = sum(Path(file).stat().st_size for file in lake.file_uris("segments"))
        write_statistics(lake)
        metrics: dict[str, float | None] = {}
        if not options.no_peers:
            metrics |= against_peers(folder, lake, options.rows, options.json_rows, options.rounds)
        metrics |= questions(lake, options.rounds)
        metrics |= {
            "writer_rows_per_s": min(options.rows, options.unit_rows) / statistics.median(seconds),
            "bytes_per_row": size / options.rows,
        }
        if options.commits:
            metrics |= compaction(folder, options.commits, options.rounds)
    method = (
        f"{options.rows:,} made-up segments of {LABELS} labels in units of {options.unit_rows:,}; "
        f"statistics with exact median by label in an open session (and with opening it); COCO "
        f"JSON of {options.json_rows:,} rows, scaled; CSV of all rows; compaction of "
        f"{options.commits:,} commits of {SEGMENTS_AN_IMAGE} rows, each question in a session of "
        f"its own; median of {options.rounds} rounds in turns; writer: median commit, one core"
    )
    write_record("lake", metrics, method, ["duckdb", "deltalake", "pyarrow"], options.json)


if __name__ == "__main__":
    main()
