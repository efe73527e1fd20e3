"""Decisions of a person and of rules, and an occasion to train, in a process that may be killed."""

import ctypes
import os
from unittest.mock import patch
from uuid import uuid4

from storage.lake import Lake
from tasks.apply_rules import apply_rules
from tasks.crossings import find_crossing, note_said
from tasks.curation_rules import CurationRules
from tasks.maintain_tables import maintain_one
from tasks.review_decisions import Decision
from tasks.reviews import record_reviews
from tests.lakes import cut, image_row, ingest, segment_row

LABELS = ("panel", "text")
DECIDED = {"s0": "accept", "s1": "reject", "s2": "relabel"}


def prepare(root):
    """Store six segments on an image."""
    lake = Lake.open(root)
    ingest(lake, "i", [image_row("a")])
    cut(lake, "s", ["a"], [segment_row("a", segment_id=f"s{n}", score=n / 10) for n in range(6)])


def curate(root, broken=False, watch=None):
    """Decide as a person and as rules, twice; note and say that it is enough; compact.

    Args:
        root: The data root.
        broken: Forget what was decided before, as a client without ids would.
        watch: Arguments of `watch_file_calls`, in a process that has it: see file_calls.c.
    """
    if watch is not None:
        folder, at, fault, log = watch
        log_file = -1 if log is None else os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        ctypes.CDLL(None).watch_file_calls(folder.encode(), ctypes.c_long(at), fault, log_file)
    lake = Lake.open(root)
    forgets = patch("tasks.reviews._says_nothing_new", lambda *_: False)
    if broken:
        forgets.start()
    record_reviews(lake, [_decision(segment, broken) for segment in DECIDED], LABELS)
    apply_rules.fn(root, "comics", CurationRules(min_score=0.2))
    record_reviews(lake, [_decision("s4", broken, "reject")], LABELS)
    apply_rules.fn(root, "comics", CurationRules(min_score=0.2))
    crossing = find_crossing.fn(root, "comics", 3, 0, "run")
    if crossing is not None:
        note_said.fn(root, crossing, "run")
    maintain_one.fn("reviews", root=root, retention_hours=168, dry_run=False)


def _decision(segment, broken, decision=None):
    decision = decision or DECIDED[segment]
    return Decision(
        decision_id=str(uuid4()) if broken else f"decision about {segment}",
        segment_id=segment,
        decision=decision,
        reviewer="amy",
        label="text" if decision == "relabel" else None,
        based_on=None if broken else 0,
    )
