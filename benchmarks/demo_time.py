"""How long the demo takes, and how much memory its largest process needs.

    python -m benchmarks.demo_time --json FILE

Runs `segmill demo` in a fresh folder, then a second time in the same folder, where it must find
nothing left to do: `tables_changed` counts the tables whose rows are not the same afterwards.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import duckdb
from deltalake import DeltaTable

from benchmarks.record import write_record
from storage.lake import Lake
from storage.schemas import TABLES

AS_MAKE_DOES = {"OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2"}
_ROWS = "SELECT count(*), sum(hash(stored)) FROM stored"


def row_multisets(root: str) -> dict[str, tuple[int, int]]:
    """Rows of each table, and a hash of them that does not depend on their order."""
    lake = Lake.open(root)
    found = {}
    for table in TABLES:
        if lake.version(table) is not None:
            session = duckdb.connect()
            session.register("stored", DeltaTable(f"{lake.root}/{table}").to_pyarrow_table())
            (found[table],) = session.execute(_ROWS).fetchall()
    return found


def main() -> None:
    """Read the command line, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    segmill = Path(sys.executable).with_name("segmill")
    with tempfile.TemporaryDirectory() as folder:
        root = str(Path(folder) / "root")
        command = [str(segmill), "demo", "--root", root, "--quiet"]
        environment = os.environ | AS_MAKE_DOES
        seconds, rows = [], []
        for _ in range(2):
            started = time.perf_counter()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)
            seconds.append(time.perf_counter() - started)
            rows.append(row_multisets(root))
    peak_kib = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    metrics = {
        "first_run_s": seconds[0],
        "second_run_s": seconds[1],
        "peak_memory_mb": peak_kib * 1024 / 1e6,
        "rows": sum(count for count, _ in rows[0].values()),
        "tables_changed": sum(rows[0][table] != rows[1].get(table) for table in rows[0]),
    }
    method = (
        "wall time of `segmill demo` (24 pages) as a whole process, with the Makefile's settings, "
        "then again on its result; memory is the peak of the largest process"
    )
    write_record("demo_time", metrics, method, ["torch", "sam2", "prefect"], options.json)


if __name__ == "__main__":
    main()
