"""Nights that pass quickly for a Prefect server on SQLite, and what they leave in its database."""

import sqlite3
import time
from contextlib import closing
from pathlib import Path
from unittest.mock import patch

from prefect import tags

from flows.events import RUN_TAG
from flows.maintain import maintain
from flows.nightly import nightly
from flows.requests import MaintainRequest, NightlyRequest
from tasks.models import LoadedModels
from tests.drops import BLUE, GREEN, RED, write_box_drop
from tests.fakes import ColorLabeller, ComponentSegmenter

BATCHES = 4
# The server forgets events by itself; the test does not wait for an hour.
SERVER = {
    "PREFECT_SERVER_EVENTS_RETENTION_PERIOD": "P1D",
    "PREFECT_SERVER_SERVICES_DB_VACUUM_LOOP_SECONDS": "2",
}
RUNS_SETTINGS = {"SEGMILL_BATCH_IMAGES": "2", "SEGMILL_RUN_HISTORY_DAYS": "1"}
"""For whoever calls `night`, beside SEGMILL_ROOT."""

_AGED = {"flow_run": "end_time", "events": "occurred", "event_resources": "occurred"}
_DAY = "-25 hours"


def night(root, number, *, forget=True):
    """Let the night with a number pass: a new drop of four batches, then maintenance.

    Args:
        root: The data root, which is also SEGMILL_ROOT.
        number: Of the night, 0 to 9.
        forget: Let maintenance delete old runs; otherwise it only counts them.
    """
    drop = Path(root) / "inbox" / f"night-{number}"
    color = (RED, GREEN, BLUE)[number % 3]
    boxes = [[((4 * number, 3 * page, 10, 8), color)] for page in range(2 * BATCHES)]
    write_box_drop(drop, boxes)
    model = Path(root) / "model.safetensors"
    model.write_bytes(b"model")
    models = {"model": f"file:{model}", "clip_model": f"file:{model}"}
    # As deployments are tagged: by it old runs are found.
    with tags(RUN_TAG), patch("tasks.segment_batch.load_models") as load:
        load.return_value = LoadedModels(ComponentSegmenter(), ColorLabeller())
        summary = nightly(NightlyRequest(dataset="boxes", report=False, **models))
        maintain(MaintainRequest(dry_run=not forget))
    assert summary.segment.batches == BATCHES


def settled_counts(database, seconds=120):
    """How many rows each table has, once the server has written and deleted what it was to."""
    deadline, before = time.monotonic() + seconds, None
    while (now := row_counts(database)) != before:
        assert time.monotonic() < deadline, "the server writes on and on"
        before = now
        time.sleep(4)
    return now


def a_day_passes(database):
    """Make all that is in the database a day older."""
    with closing(sqlite3.connect(database, timeout=60)) as connection, connection:
        for table, column in _AGED.items():
            aged = f"strftime('%Y-%m-%d %H:%M:%f', {column}, '{_DAY}') || '000'"
            connection.execute(f"UPDATE {table} SET {column} = {aged} WHERE {column} NOT NULL")


def row_counts(database):
    """How many rows each table of the server has."""
    with closing(sqlite3.connect(database, timeout=60)) as connection:
        tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        return {
            name: connection.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0]
            for (name,) in tables.fetchall()
        }


def size_bytes(database, copy):
    """How large the database is without free pages: that of a fresh copy."""
    with closing(sqlite3.connect(database, timeout=60)) as connection:
        connection.execute("VACUUM INTO ?", [str(copy)])
    size = copy.stat().st_size
    copy.unlink()
    return size
