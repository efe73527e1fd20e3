"""The flows `nightly` and `segment` with stand-ins for the models, as workers run them in tests.

As a program it runs `nightly` once, with the request in its argument. The environment says how:

FAULTS_CUT_FILE      gets a line for each image that is cut: the id of the process.
FAULTS_CUT_SECONDS   how long an image takes.
FAULTS_HALT_FILE     is written when a batch's segments are stored and its unit is not committed;
                     the process then waits to be killed. Only the first one does.
FAULTS_FORGETFUL     if set, the lake forgets which units are committed.
FAULTS_RENEWAL       how often the run renews its place among those of its deployment, as a share of
                     five minutes, in place of three quarters.
"""

import os
import sys
import time
from pathlib import Path

import prefect.concurrency._leases

import tasks.segment_batch
from flows.nightly import nightly
from flows.requests import NightlyRequest
from flows.segment import segment
from storage.lake import Lake
from tasks.models import LoadedModels
from tests.fakes import ColorLabeller, ComponentSegmenter
from tests.faults.night_process import append_without_asking

__all__ = ["nightly", "segment"]

_HALT_SECONDS = 600


class SlowSegmenter(ComponentSegmenter):
    def segment(self, rgb):
        with Path(os.environ["FAULTS_CUT_FILE"]).open("a") as file:
            file.write(f"{os.getpid()}\n")
        time.sleep(float(os.environ["FAULTS_CUT_SECONDS"]))
        return super().segment(rgb)


_commit = Lake.commit_unit


def _halt_before_commit(lake, *, stage, **unit):
    if stage == "segment":
        try:
            Path(os.environ["FAULTS_HALT_FILE"]).open("x").close()
        except FileExistsError:
            pass
        else:
            time.sleep(_HALT_SECONDS)
    return _commit(lake, stage=stage, **unit)


if "FAULTS_CUT_FILE" in os.environ:
    tasks.segment_batch.load_models = lambda choice, compute: LoadedModels(
        SlowSegmenter(), ColorLabeller()
    )
if "FAULTS_HALT_FILE" in os.environ:
    Lake.commit_unit = _halt_before_commit
if "FAULTS_FORGETFUL" in os.environ:
    Lake.append_units = append_without_asking
if "FAULTS_RENEWAL" in os.environ:
    prefect.concurrency._leases._RENEWAL_FRACTION = float(os.environ["FAULTS_RENEWAL"])

if __name__ == "__main__":
    nightly(NightlyRequest.model_validate_json(sys.argv[1]))
