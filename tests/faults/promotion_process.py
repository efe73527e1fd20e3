"""Registering, promoting and rolling back, in a process that may be killed at any time."""

import ctypes
import os
from contextlib import nullcontext
from pathlib import Path
from unittest.mock import patch
from uuid import uuid4

from storage.errors import PromotionConflictError
from storage.lake import Lake
from storage.model_store import MANIFEST, ModelStore
from tasks.gate_rules import load_gate
from tasks.live_model import live_model
from tasks.promote_model import promote_by_hand, promote_through_gate, roll_back

_append = Lake.append
_store_files = ModelStore._store_files


def act(root, action, argument, replacing, broken=None, told=None, watch=None):
    """Do one thing to the models of a root.

    Args:
        root: The data root.
        action: `register`, `promote`, `gate` or `rollback`.
        argument: The weights file, or the model.
        replacing: The model that should be live before.
        broken: Which mistake to make: see `_BROKEN`.
        told: Waited for, so that the process can be watched from its first request on.
        watch: Arguments of `watch_file_calls`, in a process that has it: see file_calls.c.
    """
    if told is not None:
        told.wait(60)
    if watch is not None:
        folder, at, fault, log = watch
        log_file = -1 if log is None else os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        ctypes.CDLL(None).watch_file_calls(folder.encode(), ctypes.c_long(at), fault, log_file)
    with _BROKEN[broken]():
        if action == "register":
            path = Path(argument)
            ModelStore(root).put(path.stem, path, {"made": "for a test"})
        elif live_model(root).model_id == argument:
            return  # a command that is repeated
        elif action == "promote":
            promote_by_hand(root, argument, "a test", replacing=replacing)
        elif action == "gate":
            promote_through_gate(root, argument, load_gate(), replacing=replacing)
        else:
            roll_back(root, replacing=replacing)


def compete(root, models, rounds, start, decided, outcomes, broken=None):
    """Promote one of one's models in each round, against others who do so at the same time.

    Args:
        root: The data root.
        models: Two models that nobody else promotes.
        rounds: How often.
        start: A barrier of all rivals: they look which model is live.
        decided: Another one: then they promote.
        outcomes: A queue that gets the round, the model, and the winner or None for oneself.
        broken: As `act`.
    """
    with _BROKEN[broken]():
        for number in range(rounds):
            start.wait(120)
            live = live_model(root).model_id
            decided.wait(120)
            model = models[models[0] == live]
            try:
                promote_by_hand(root, model, "a race", replacing=live)
            except PromotionConflictError as error:
                outcomes.put((number, model, error.live))
            else:
                outcomes.put((number, model, None))


def _without_numbers():
    """Each promotion is committed, whoever was quicker."""

    def append(lake, table, rows, unit_id, *rest):
        unit = f"{unit_id}-{uuid4()}" if table == "promotions" else unit_id
        return _append(lake, table, rows, unit, *rest)

    return patch.object(Lake, "append", append)


def _in_two_steps():
    """The old live model is taken away first, and the new one put there afterwards."""

    def append(lake, table, rows, unit_id, *rest):
        if table == "promotions" and (stored := lake.table(table)) is not None:
            kept = lake.read(table)
            stored.delete()
            _append(lake, table, [*kept.to_pylist(), *rows], unit_id, *rest)
            return True
        return _append(lake, table, rows, unit_id, *rest)

    return patch.object(Lake, "append", append)


def _manifest_first():
    """The manifest is there before the weights it speaks of."""

    def store_files(store, model, weights, config):
        other = ModelStore(f"{store.objects.root}-scratch")
        _store_files(other, model, weights, config)
        key = f"{model.prefix}{MANIFEST}"
        store.objects.create(key, other.objects.read(key))
        _store_files(store, model, weights, config)

    return patch.object(ModelStore, "_store_files", store_files)


_BROKEN = {
    None: nullcontext,
    "without numbers": _without_numbers,
    "in two steps": _in_two_steps,
    "manifest first": _manifest_first,
}
