"""How benchmarks take time and memory."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


def in_turns(rounds: int, *steps: Callable[[], Any]) -> list[tuple[float, Any]]:
    """Median seconds and last result of each step; all run once before, to warm up."""
    seconds: list[list[float]] = [[] for _ in steps]
    results: list[Any] = [step() for step in steps]
    for _ in range(rounds):
        for number, step in enumerate(steps):
            began = time.perf_counter()
            results[number] = step()
            seconds[number].append(time.perf_counter() - began)
    return [(statistics.median(s), result) for s, result in zip(seconds, results, strict=True)]


def peak_mb() -> float:
    """Peak resident memory of this process alone; getrusage would count its parent's too."""
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 1024
