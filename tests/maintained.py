"""A table of many small files, and what is in it."""

import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from storage.lake import Lake

Row = Callable[..., dict[str, Any]]


LABELS = ["text", "bubble", "panel", "unknown", "character's"]


def fill_segments(lake: Lake, segment: Row, units: int = 8, rows: int = 30) -> None:
    chosen = random.Random(5)
    for unit in range(units):
        lake.append(
            "segments",
            [
                segment(label=chosen.choice(LABELS), image_id=f"image-{chosen.randrange(40):02}")
                for _ in range(rows)
            ],
            f"unit-{unit}",
        )


def stored_rows(lake: Lake, table: str = "segments") -> Counter[str]:
    found = lake.read(table, committed_only=False).to_pylist()
    return Counter(str(sorted(row.items(), key=lambda item: item[0])) for row in found)


def file_times(root: str) -> dict[str, tuple[int, int]]:
    return {
        str(path): (path.stat().st_mtime_ns, path.stat().st_size)
        for path in Path(root).rglob("*")
        if path.is_file()
    }
