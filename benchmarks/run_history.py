"""What nights leave in Prefect's database on SQLite, and that maintenance keeps it from growing.

    python -m benchmarks.run_history --json FILE

Nights of four batches and maintenance on a real server, once where maintenance only counts old
runs, and once where it deletes those that are older than a day. After each night all records are
made a day older. Sizes are of a fresh copy of the database, which has no free pages.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
from itertools import pairwise
from pathlib import Path

from prefect.events.worker import EventsWorker
from prefect.settings import PREFECT_API_URL, temporary_settings

from benchmarks.record import write_record
from tests.prefect_history import (
    BATCHES,
    RUNS_SETTINGS,
    SERVER,
    a_day_passes,
    night,
    settled_counts,
    size_bytes,
)
from tests.prefect_server import restartable_server

TABLES = ("flow_run", "task_run", "log", "artifact", "events", "event_resources")


def after_each_night(nights: int, forget: bool) -> list[dict[str, int]]:
    """Rows of each table and the size of the database, after each of some nights.

    Args:
        nights: How many.
        forget: Whether maintenance and the server delete what is older than a day.
    """
    # Without, events are kept for a week, as they are elsewhere.
    settings = SERVER if forget else {}
    found = []
    with (
        tempfile.TemporaryDirectory() as temporary,
        restartable_server(Path(temporary), **settings) as server,
        temporary_settings({PREFECT_API_URL: server.environment["PREFECT_API_URL"]}),
    ):
        folder = Path(temporary)
        os.environ |= RUNS_SETTINGS | {"SEGMILL_ROOT": str(folder / "root")}
        for number in range(nights):
            night(folder / "root", number, forget=forget)
            counts = settled_counts(server.database)
            size = size_bytes(server.database, folder / "copy.db")
            found.append(counts | {"bytes": size})
            a_day_passes(server.database)
        EventsWorker.drain_all(timeout=10)
    return found


def growth(found: list[dict[str, int]], name: str) -> float:
    """How much a night adds; the first one is left out, for it also creates what stays."""
    values = [counts[name] for counts in found]
    return statistics.median(later - earlier for earlier, later in pairwise(values))


def main() -> None:
    """Read the command line, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--nights", type=int, default=5)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    grows = after_each_night(options.nights, forget=False)
    kept = after_each_night(options.nights, forget=True)
    metrics: dict[str, float | None] = {"bytes_a_night": growth(grows, "bytes")}
    metrics |= {f"{table}_rows_a_night": growth(grows, table) for table in TABLES}
    metrics |= {
        "bytes_a_night_with_retention": growth(kept, "bytes"),
        "rows_a_night_with_retention": sum(growth(kept, table) for table in TABLES),
        "bytes_after_the_last_night": grows[-1]["bytes"],
        "bytes_after_the_last_night_with_retention": kept[-1]["bytes"],
    }
    method = (
        f"{options.nights} nights of {BATCHES} batches of two images, with stand-ins for the "
        "models, each followed by maintenance, on a Prefect server with SQLite; a night's growth "
        "is the median from the second night on, of a copy without free pages; with retention, "
        "runs and events older than a day are deleted"
    )
    write_record("run_history", metrics, method, ["prefect", "sqlalchemy"], options.json)


if __name__ == "__main__":
    main()
