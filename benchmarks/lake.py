"""The lake at millions of rows: writing, statistics, and one label's or image's rows.

    python -m benchmarks.lake --json FILE

The same made-up segments are stored as Delta units, as CSV (read with pandas, where that is
installed) and as COCO JSON, and counted by label with an exact median, in turns. Small commits are
compacted, and the same questions asked before and after.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pc

from benchmarks.measuring import in_turns
from benchmarks.record import write_record
from storage.lake import Lake
from storage.maintenance import maintain_table
from storage.session import connect

LABELS = 80
SEGMENTS_AN_IMAGE = 100
SCOPE = {"dataset": "made", "model_id": "model", "params_id": "params", "label_set_id": "labels"}
STATS = """
SELECT label, count(*) AS segments, avg(area_px) AS mean_px, median(area_px) AS median_px,
    avg(score) AS score
FROM segments GROUP BY label ORDER BY label
"""


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


def write_units(lake: Lake, rows: int, unit_rows: int) -> tuple[float, list[str]]:
    """Commit units of segments; returns rows a second, building them left out, and the images."""
    seconds, images = 0.0, []
    for number, start in enumerate(range(0, rows, unit_rows)):
        data = made_segments(min(unit_rows, rows - start), number)
        unit = f"unit-{number:06d}"
        own = sorted(set(data["image_id"].to_pylist()))
        images += own
        began = time.perf_counter()
        lake.append("segments", data, unit)
        seconds += time.perf_counter() - began
        lake.commit_unit(
            stage="segment", unit_id=unit, subject="made", inputs=len(own), outputs=len(data),
            image_ids=own, **{key: SCOPE[key] for key in SCOPE if key != "dataset"},
        )  # fmt: skip
    return rows / seconds, images


def ask(lake: Lake, sql: str, parameters: dict[str, Any] | None = None) -> list[Any]:
    """Open a session and answer one question, as every command does."""
    with connect(lake) as session:
        return session.execute(sql, parameters or {}).fetchall()


def json_stats(path: Path) -> int:
    """Load COCO annotations and count them by label, as scripts do."""
    areas: dict[str, list[int]] = {}
    for row in json.loads(path.read_bytes())["annotations"]:
        areas.setdefault(row["category"], []).append(row["area"])
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
    columns = "segment_id, image_id, label, score, margin, area_px, rle"
    with connect(lake) as session:
        reader = session.sql(f"SELECT {columns} FROM segments").to_arrow_reader(100_000)
        with pc.CSVWriter(csv_path, reader.schema) as writer:
            for batch in reader:
                writer.write_batch(batch)
        rows = session.execute(
            "SELECT segment_id, image_id, label, score, area_px, bbox_xywh, rle FROM segments "
            "LIMIT ?", [json_rows]
        ).fetchall()  # fmt: skip
    names = ("id", "image_id", "category", "score", "area", "bbox", "segmentation")
    annotations = [dict(zip(names, row, strict=True)) for row in rows]
    json_path.write_text(json.dumps({"annotations": annotations}))
    return csv_path, json_path


def compaction(folder: Path, commits: int, rounds: int) -> dict[str, float | None]:
    """Statistics and one label's rows before and after small commits become few files."""
    lake = Lake.open(str(folder / "small"))
    write_units(lake, commits * SEGMENTS_AN_IMAGE, SEGMENTS_AN_IMAGE)
    label = "SELECT * FROM segments WHERE label = 'label 05'"
    image = "SELECT * FROM segments WHERE image_id = (SELECT min(image_id) FROM segments)"
    checksum = "SELECT count(*), sum(hash(stored.segments)) FROM stored.segments"

    def timed() -> list[float]:
        steps: list[Callable[[], Any]] = [partial(ask, lake, sql) for sql in (STATS, label, image)]
        return [seconds for seconds, _ in in_turns(rounds, *steps)]

    before, rows = timed(), ask(lake, checksum)
    for table in ("segments", "units"):
        maintain_table(lake, table)
    after = timed()
    assert ask(lake, checksum) == rows, "compaction changed the rows"
    return {
        "compaction_stats_speedup": before[0] / after[0],
        "compaction_label_speedup": before[1] / after[1],
        "one_label_ms": 1000 * after[1],
        "one_image_ms": 1000 * after[2],
        "commits": commits,
    }


def main() -> None:
    """Read the command line, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rows", type=int, default=5_000_000)
    parser.add_argument("--unit-rows", type=int, default=500_000)
    parser.add_argument("--json-rows", type=int, default=500_000, help="scaled up to --rows")
    parser.add_argument("--commits", type=int, default=10_000, help="small ones, to be compacted")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        lake = Lake.open(name)
        rows_per_s, _ = write_units(lake, options.rows, options.unit_rows)
        size = sum(Path(file).stat().st_size for file in lake.file_uris("segments"))
        csv_path, json_path = write_peers(folder, lake, options.json_rows)
        steps: list[Callable[[], Any]] = [
            partial(ask, lake, STATS),
            partial(json_stats, json_path),
        ]
        has_pandas = _pandas_is_there()
        if has_pandas:
            steps.append(partial(pandas_stats, csv_path))
        (ours, _), (of_json, _), *of_pandas = in_turns(options.rounds, *steps)
        of_json *= options.rows / options.json_rows
        metrics: dict[str, float | None] = {
            "stats_speedup_vs_pandas_csv": of_pandas[0][0] / ours if has_pandas else None,
            "stats_speedup_vs_coco_json": of_json / ours,
            "stats_ms": 1000 * ours,
            "writer_rows_per_s": rows_per_s,
            "bytes_per_row": size / options.rows,
        }
        metrics |= compaction(folder, options.commits, options.rounds)
    method = (
        f"{options.rows:,} made-up segments of {LABELS} labels in units of {options.unit_rows:,}; "
        f"statistics with exact median by label, a new session each time; COCO JSON of "
        f"{options.json_rows:,} rows, scaled; compaction of {options.commits:,} commits of "
        f"{SEGMENTS_AN_IMAGE} rows; median of {options.rounds} rounds in turns"
    )
    write_record("lake", metrics, method, ["duckdb", "deltalake", "pyarrow"], options.json)


def _pandas_is_there() -> bool:
    from importlib.util import find_spec

    return find_spec("pandas") is not None


if __name__ == "__main__":
    main()
