"""The form in which every benchmark keeps its result."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

from rich.console import Console
from rich.table import Table


def write_record(
    benchmark: str,
    metrics: Mapping[str, float | None],
    method: str,
    packages: list[str],
    path: Path | None,
) -> None:
    """Print the metrics as a table and, where a path is given, write them as JSON.

    Args:
        benchmark: The name of the script.
        metrics: Name to number; None for what could not be measured.
        method: One or two sentences: what was measured, and how.
        packages: Distributions whose versions bear on the result.
        path: Where the JSON goes.
    """
    table = Table("metric", "value", title=benchmark)
    for name, value in metrics.items():
        table.add_row(name, "not measured" if value is None else f"{value:.4g}")
    Console().print(table)
    if path is None:
        return
    record = {
        "benchmark": benchmark,
        "metrics": {
            name: None if value is None else round(value, 4) for name, value in metrics.items()
        },
        "method": method,
        "machine": f"{os.cpu_count()} CPU cores, {platform.machine()}, {platform.system()}",
        "versions": {"python": platform.python_version()}
        | {package: version(package) for package in packages},
    }
    path.write_text(json.dumps(record, indent=2) + "\n")
