"""A night with stand-ins for the models, in a process that may be killed at any time."""

from unittest.mock import patch

from flows.nightly import run_nightly
from flows.requests import NightlyRequest
from flows.running import InProcess
from storage.lake import Lake
from storage.settings import Settings
from tasks.maintain_tables import list_tables, maintain_one
from tasks.models import LoadedModels
from tests.fakes import ColorLabeller, ComponentSegmenter


def night(root, source, model, broken=False, told=None):
    """Ingest, segment, count and compact.

    Args:
        root: The data root.
        source: Folder of the drop.
        model: Reference that stands for both models.
        broken: Forget which units are committed, as a lake without transactions would.
        told: Waited for, so that the process can be watched from its first request on.
    """
    if told is not None:
        told.wait(60)
    request = NightlyRequest(
        dataset="boxes", source=source, model=model, clip_model=model, report=False
    )
    settings = Settings(root=root, batch_images=2)
    with patch("tasks.segment_batch.load_models") as load:
        load.return_value = LoadedModels(ComponentSegmenter(), ColorLabeller())
        if not broken:
            run_nightly(request, settings, InProcess())
            for table in list_tables.fn(root):
                maintain_one.fn(table, root=root, retention_hours=168, dry_run=False)
            return
        with patch.object(Lake, "append", _append_without_asking):
            run_nightly(request, settings, InProcess())


_append = Lake.append


def _append_without_asking(lake, table, rows, unit_id):
    if table == "units":
        return _append(lake, table, rows, unit_id)
    with patch("storage.lake.Transaction", lambda unit, version: _other_transaction(unit)):
        return _append(lake, table, rows, unit_id)


def _other_transaction(unit):
    from uuid import uuid4

    from deltalake import Transaction

    return Transaction(f"{unit}-{uuid4()}", 1)
