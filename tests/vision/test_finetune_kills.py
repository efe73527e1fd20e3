"""A run that is killed, anywhere, and started again gives the model of one that was not."""

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

# The parent only imports: what it forks trains, and is killed, in a process of its own. A kill is
# due at a step, or at a share, 0 to 1, of the first run's calls that write, or of its seconds.
RUNS = """
import hashlib, json, os, signal, sys, threading, time
from pathlib import Path
import torch._dynamo  # which AdamW would import in each child, for seconds
from tests.training import tiny_base, tiny_settings, training_image
from vision.finetune.run import finetune

CALLS = ("fsync", "rename", "replace", "mkdir", "unlink", "rmdir")

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def counted(real, at, calls):
    def call(*arguments, **more):
        calls.append(real.__name__)
        if len(calls) == at:
            die()
        return real(*arguments, **more)
    return call

def train(folder, kind=None, due=None):
    if kind in ("call", "second"):
        all_calls, all_seconds = json.loads((root / "0" / "spent.json").read_bytes())
    calls = []
    last = max(1, round(due * all_calls)) if kind == "call" else None
    for name in CALLS:
        setattr(os, name, counted(getattr(os, name), last, calls))
    if kind == "second":
        threading.Timer(due * all_seconds, die).start()
    def on_step(report):
        if kind == "step" and report.step == due:
            die()
    config = tiny_settings(
        limits={"steps": 8}, checkpoints={"every_steps": 2}, validation={"every_epochs": 2},
        early_stopping={"patience_epochs": 0},
    )
    images = [training_image(seed) for seed in range(6)]
    began = time.monotonic()
    finetune(config, images, folder, base=tiny_base(), on_step=on_step)
    (folder / "spent.json").write_text(json.dumps([len(calls), time.monotonic() - began]))

def attempt(folder, *kill):
    if (child := os.fork()) == 0:
        try:
            train(folder, *kill)
        except BaseException:
            import traceback
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

root = Path(sys.argv[1])
for number, kills in enumerate(json.loads(sys.argv[2])):
    folder = root / str(number)
    statuses = [attempt(folder, *kill) for kill in kills]
    assert attempt(folder) == 0
    weights = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    notes = json.loads((folder / "manifest.json").read_bytes())["training"]["notes"]
    left = sorted(p.name for p in (folder / "checkpoints").iterdir() if p.suffix == ".partial")
    print(json.dumps([statuses, weights, notes, left]), flush=True)
"""


def check(folder, *kills):
    """Runs, each killed at some points first, against one that nothing disturbs."""
    done = subprocess.run(
        [sys.executable, "-c", RUNS, str(folder), json.dumps([[], *kills])],
        capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(Path.cwd())},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (_, undisturbed, *_), *killed = (json.loads(line) for line in done.stdout.splitlines())
    assert len(killed) == len(kills)
    for points, (statuses, weights, notes, left) in zip(kills, killed, strict=True):
        # One that has only what is left of a run to do, or runs faster, may end before it is due.
        due = [kind != "second" and number == 0 for number, (kind, _) in enumerate(points)]
        assert all(status == -9 for status, is_due in zip(statuses, due, strict=True) if is_due)
        assert set(statuses) <= {-9, 0}
        assert weights == undisturbed
        assert not any("damaged" in note for note in notes)
        assert left == []


@pytest.mark.slow
def test_a_run_that_is_killed_goes_on_to_the_same_weights(tmp_path):
    # In the middle of an epoch; in the middle of a checkpoint; as the model is written.
    check(tmp_path, [["step", 5]], [["call", 0.37]], [["call", 1.0]])


@pytest.mark.slow
@pytest.mark.sweep
@pytest.mark.timeout(1500)
def test_runs_that_are_killed_at_random_go_on_to_the_same_weights(tmp_path):
    draw = random.Random(int(os.environ.get("SEGMILL_KILL_SEED", "0")))
    points = [
        [["step", draw.randint(1, 8)] if kind == "step" else [kind, draw.random()]]
        for kind in ["step"] * 6 + ["call"] * 8 + ["second"] * 6
    ]
    # Some are killed once more on their way back.
    for point in points[::5]:
        point.append(["call", draw.random() / 2])

    check(tmp_path, *points)
