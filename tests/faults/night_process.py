"""A night with stand-ins for the models, in a process that may be killed at any time."""

import ctypes
import os
import time
from threading import Lock
from unittest.mock import patch

from flows.nightly import run_nightly
from flows.requests import NightlyRequest
from flows.running import InProcess
from storage.lake import Lake
from storage.settings import Settings
from tasks.image_inspection import _inspect
from tasks.maintain_tables import list_tables, maintain_one
from tasks.models import LoadedModels
from tests.fakes import ColorLabeller, ComponentSegmenter


def night(root, source, model, broken=False, told=None, watch=None, clock=0):
    """Ingest, segment, count and compact.

    Args:
        root: The data root.
        source: Folder of the drop.
        model: Reference that stands for both models.
        broken: Forget which units are committed, as a lake without transactions would.
        told: Waited for, so that the process can be watched from its first request on.
        watch: Arguments of `watch_file_calls`, in a process that has it: see file_calls.c.
        clock: Seconds by which the clock is wrong, in such a process.
    """
    if told is not None:
        told.wait(60)
    if watch is not None:
        folder, at, fault, log = watch
        log_file = -1 if log is None else os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        ctypes.CDLL(None).watch_file_calls(folder.encode(), ctypes.c_long(at), fault, log_file)
    if clock:
        ctypes.CDLL(None).set_clock_ahead(ctypes.c_long(clock))
        assert abs(time.time() - time.clock_gettime(time.CLOCK_TAI) - clock) < 3600
    request = NightlyRequest(
        dataset="boxes", source=source, model=model, clip_model=model, report=False
    )
    settings = Settings(root=root, batch_images=2)
    with (
        patch("tasks.segment_batch.load_models") as load,
        # The children that decode images change no file, and to start them is most of a night.
        patch("tasks.drop_images.inspect_images", _inspect_images_here),
    ):
        load.return_value = LoadedModels(ComponentSegmenter(), ColorLabeller())
        if not broken:
            run_nightly(request, settings, InProcess())
            for table in list_tables.fn(root):
                maintain_one.fn(table, root=root, retention_hours=168, dry_run=False)
            return
        with patch.object(Lake, "append_units", append_without_asking):
            run_nightly(request, settings, InProcess())


def _inspect_images_here(files, max_px):
    for name, data in files:
        yield name, data, _inspect(data, max_px)


_append = Lake.append_units
_turn = Lock()


def append_without_asking(lake, table, rows, *of_unit):
    """In place of `Lake.append_units`: appends whether or not the units are in the table."""
    # What is replaced meanwhile is replaced for all threads.
    with _turn:
        if table == "units":
            return _append(lake, table, rows, *of_unit)
        with patch("storage.lake.Transaction", lambda unit, version: _other_transaction(unit)):
            return _append(lake, table, rows, *of_unit)


def _other_transaction(unit):
    from uuid import uuid4

    from deltalake import Transaction

    return Transaction(f"{unit}-{uuid4()}", 1)
