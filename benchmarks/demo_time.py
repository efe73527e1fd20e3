"""How long the demo takes, and how much memory its largest process needs.

    python -m benchmarks.demo_time --json FILE

Runs `segmill demo` in a fresh folder, then a second time in the same folder, where it must find
nothing left to do.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.record import write_record


def main() -> None:
    """Read the command line, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    segmill = Path(sys.executable).with_name("segmill")
    with tempfile.TemporaryDirectory() as folder:
        command = [str(segmill), "demo", "--root", str(Path(folder) / "root"), "--quiet"]
        seconds = []
        for _ in range(2):
            started = time.perf_counter()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            seconds.append(time.perf_counter() - started)
    peak_kib = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    metrics = {
        "first_run_s": seconds[0],
        "second_run_s": seconds[1],
        "peak_memory_mb": peak_kib * 1024 / 1e6,
    }
    method = "wall time of `segmill demo` (24 pages) as a whole process, then again on its result"
    write_record("demo_time", metrics, method, ["torch", "sam2", "prefect"], options.json)


if __name__ == "__main__":
    main()
