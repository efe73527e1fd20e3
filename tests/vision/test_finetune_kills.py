"""A run that is killed, anywhere, and started again gives the model of one that was not."""

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

# The parent only imports: what it forks trains, and is killed, in a process of its own.
RUNS = """
import hashlib, json, os, signal, sys, threading, time
from pathlib import Path
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

def train(folder, kind, at):
    calls = []
    if kind == "call":
        for name in CALLS:
            setattr(os, name, counted(getattr(os, name), at, calls))
    if kind == "second":
        threading.Timer(at, die).start()
    def on_step(report):
        if kind == "step" and report.step == at:
            die()
    config = tiny_settings(
        limits={"steps": 12}, checkpoints={"every_steps": 2}, validation={"every_epochs": 2},
        early_stopping={"patience_epochs": 0},
    )
    images = [training_image(seed) for seed in range(6)]
    began = time.monotonic()
    finetune(config, images, folder, base=tiny_base(), on_step=on_step)
    (folder / "spent.json").write_text(json.dumps([len(calls), time.monotonic() - began]))

def attempt(folder, kind, at):
    if (child := os.fork()) == 0:
        try:
            train(folder, kind, at)
        except BaseException:
            import traceback
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

root = Path(sys.argv[1])
for number, kills in enumerate(json.loads(sys.argv[2])):
    folder = root / str(number)
    statuses = [attempt(folder, kind, at) for kind, at in kills]
    assert attempt(folder, "call", -1) == 0
    weights = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    notes = json.loads((folder / "manifest.json").read_bytes())["training"]["notes"]
    left = sorted(p.name for p in (folder / "checkpoints").iterdir() if p.suffix == ".partial")
    spent = json.loads((folder / "spent.json").read_bytes())
    print(json.dumps([statuses, weights, notes, left, spent]), flush=True)
"""


def run(folder, *kills):
    """Runs, each killed at some points first: exit statuses, SHA-256, notes, leftovers, spent."""
    done = subprocess.run(
        [sys.executable, "-c", RUNS, str(folder), json.dumps(kills)],
        capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(Path.cwd())},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def check(runs):
    (_, undisturbed, *_), *killed = runs
    for statuses, weights, notes, left, _ in killed:
        assert set(statuses) <= {-9, 0}
        assert weights == undisturbed
        assert not any("damaged" in note for note in notes)
        assert left == []
    assert any(-9 in statuses for statuses, *_ in killed)


def test_a_run_that_is_killed_goes_on_to_the_same_weights(tmp_path):
    # In the middle of an epoch; in the middle of a checkpoint; as the model is written.
    check(run(tmp_path, [], [["step", 5]], [["call", 40]], [["call", 190]]))


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_runs_that_are_killed_at_random_go_on_to_the_same_weights(tmp_path):
    seed = int(os.environ.get("SEGMILL_KILL_SEED", "0"))
    draw = random.Random(seed)
    [(_, _, _, _, (calls, seconds))] = run(tmp_path / "measured", [])
    points = [
        [["step", draw.randint(1, 12)]] if kind == "step"
        else [["call", draw.randint(1, calls)]] if kind == "call"
        else [["second", draw.uniform(0, seconds)]]
        for kind in ["step"] * 6 + ["call"] * 8 + ["second"] * 6
    ]  # fmt: skip
    # Some are killed once more on their way back.
    for point in points[::5]:
        point.append(["call", draw.randint(1, calls // 2)])

    check(run(tmp_path / "killed", [], *points))
