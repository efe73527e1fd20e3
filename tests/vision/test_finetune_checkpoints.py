import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from vision.finetune import NoSpaceError
from vision.finetune.checkpoints import CheckpointStore, Progress
from vision.finetune.errors import CheckpointError
from vision.finetune.tensor_files import DamagedFolderError, read_folder, write_folder


def tensors(value, size=7):
    return {
        "a.weight": torch.full((size,), value),
        "b": torch.full((2, 3), value, dtype=torch.half),
    }


def optimizer(value):
    return {"a.weight": {"step": torch.tensor(value), "exp_avg": torch.full((7,), value / 2),
                         "exp_avg_sq": torch.full((7,), value / 3)}}  # fmt: skip


def save(store, step, best=None, **facts):
    progress = Progress(step=step, best_step=best, **facts)
    store.save(progress, tensors(float(step)), tensors(step + 0.5), optimizer(float(step)))


@pytest.fixture
def store(tmp_path):
    return CheckpointStore(tmp_path / "checkpoints", keep=2)


def names(tmp_path):
    return sorted(path.name for path in (tmp_path / "checkpoints").iterdir())


def test_what_was_saved_comes_back(store):
    save(store, 3, seconds=1.5, best_miou=0.4, skipped={"x": "why"}, notes=["note"])

    found = store.last()

    expected = Progress(step=3, seconds=1.5, best_miou=0.4, skipped={"x": "why"}, notes=["note"])
    assert found.progress == expected
    assert torch.equal(found.weights["a.weight"], torch.full((7,), 3.0))
    assert found.weights["b"].dtype == torch.half
    assert torch.equal(found.average["b"], torch.full((2, 3), 3.5, dtype=torch.half))
    assert found.optimizer["a.weight"]["step"].item() == 3.0
    assert torch.equal(found.optimizer["a.weight"]["exp_avg"], torch.full((7,), 1.5))


def test_there_may_be_none(store):
    assert store.last() is None


def test_the_last_two_are_kept(store, tmp_path):
    for step in (3, 6, 9, 12):
        save(store, step)

    assert names(tmp_path) == ["step-000000009", "step-000000012"]
    assert store.last().progress.step == 12


def test_nothing_is_pickled(store, tmp_path):
    save(store, 3)
    store.save_best(3, 0.5, tensors(1.0))

    for path in (tmp_path / "checkpoints").rglob("*"):
        assert path.is_dir() or path.suffix in (".safetensors", ".json")


FILES = ["weights.safetensors", "average.safetensors", "first_moments.safetensors",
         "second_moments.safetensors", "manifest.json"]  # fmt: skip


def cut(path):
    path.write_bytes(path.read_bytes()[:-5])


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", [cut, flip, lambda path: path.unlink()])
def test_a_damaged_one_is_noticed_and_the_one_before_is_used(store, tmp_path, name, damage):
    save(store, 3)
    save(store, 6)
    damage(tmp_path / "checkpoints" / "step-000000006" / name)

    found = store.last()

    assert found.progress.step == 3
    assert "step-000000006 is damaged" in found.progress.notes[0]


def test_each_flipped_byte_is_noticed(tmp_path):
    folder = tmp_path / "f"
    write_folder(folder, {"t": tensors(1.0)}, {"x": 1})
    for path in folder.iterdir():
        data = path.read_bytes()
        for place in range(len(data)):
            changed = bytearray(data)
            changed[place] ^= 1
            path.write_bytes(changed)
            try:
                found, facts = read_folder(folder)
            except DamagedFolderError:
                continue
            # White space at the end of the manifest says nothing.
            assert path.name == "manifest.json" and facts == {"x": 1}
            assert torch.equal(found["t"]["b"], tensors(1.0)["b"])
        path.write_bytes(data)


def test_when_all_are_damaged_nothing_is_overwritten(store, tmp_path):
    for step in (3, 6):
        save(store, step)
        cut(tmp_path / "checkpoints" / f"step-{step:09d}" / "weights.safetensors")

    with pytest.raises(CheckpointError, match=r"step-000000006 is damaged.*step-000000003"):
        store.last()


def test_the_best_are_kept_as_long_as_a_checkpoint_speaks_of_them(store, tmp_path):
    store.save_best(3, 0.5, tensors(3.0))
    save(store, 3, best=3)
    store.save_best(6, 0.6, tensors(6.0))
    save(store, 6, best=6)
    assert "best-000000003" in names(tmp_path)
    save(store, 9, best=6)
    save(store, 12, best=6)

    assert [name for name in names(tmp_path) if "best" in name] == ["best-000000006"]
    assert store.best(6)["a.weight"][0].item() == 6.0


def test_best_weights_that_are_gone_are_told(store):
    with pytest.raises(CheckpointError, match="best-000000003"):
        store.best(3)


def test_what_a_killed_process_left_is_swept(store, tmp_path):
    save(store, 3)
    left = tmp_path / "checkpoints" / "step-000000006.partial"
    left.mkdir()
    (left / "weights.safetensors").write_bytes(b"half")

    assert store.last().progress.step == 3
    save(store, 6)
    assert names(tmp_path) == ["step-000000003", "step-000000006"]


def test_a_folder_is_replaced_whole(tmp_path):
    write_folder(tmp_path / "f", {"t": tensors(1.0)}, {"n": 1})
    write_folder(tmp_path / "f", {"t": tensors(2.0)}, {"n": 2})

    found, facts = read_folder(tmp_path / "f")
    assert (facts, found["t"]["a.weight"][0].item()) == ({"n": 2}, 2.0)
    assert [path.name for path in tmp_path.iterdir()] == ["f"]


def test_a_full_disk_is_told_and_the_checkpoints_before_stay(store, tmp_path):
    """A limit on the size of files stops the writing in its middle, as a full disk does."""
    save(store, 3)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, before[1]))
        with pytest.raises(NoSpaceError, match="Checkpoints saved before are intact"):
            large = tensors(6.0, 100_000)
            store.save(Progress(step=6), large, large, optimizer(6.0))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)

    assert names(tmp_path) == ["step-000000003"]
    assert store.last().progress.step == 3


def test_a_disk_that_is_known_to_be_too_small_is_not_even_tried(store, tmp_path, monkeypatch):
    save(store, 3)
    usage = type("Usage", (), {"free": 10})
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage)

    with pytest.raises(NoSpaceError, match="10 are free"):
        save(store, 6)

    assert names(tmp_path) == ["step-000000003"]


KILLED_WHILE_SAVING = """
import os, signal, sys
from pathlib import Path
from tests.vision.test_finetune_checkpoints import save
from vision.finetune.checkpoints import CheckpointStore

def counted(real, at, calls):
    def call(*arguments, **more):
        calls.append(real.__name__)
        if len(calls) == at:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*arguments, **more)
    return call

def save_and_be_killed(folder, at):
    store = CheckpointStore(folder, keep=2)
    save(store, 3)
    save(store, 6)
    calls = []
    for name in ("fsync", "rename", "replace", "mkdir", "rmdir", "unlink"):
        setattr(os, name, counted(getattr(os, name), at, calls))
    save(store, 9)
    os._exit(len(calls))

def status(folder, at):
    if (child := os.fork()) == 0:
        save_and_be_killed(folder, at)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

root = Path(sys.argv[1])
calls = status(root / "whole", -1)
for at in range(1, calls + 1):
    assert status(root / str(at), at) == -signal.SIGKILL
    found = CheckpointStore(root / str(at), keep=2).last()
    assert found.progress.notes == [], found.progress.notes
    assert found.weights["a.weight"][0].item() == found.progress.step
    print(found.progress.step)
"""


def test_a_save_can_be_killed_at_any_call(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", KILLED_WHILE_SAVING, str(tmp_path)],
        capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(Path.cwd())},
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    steps = done.stdout.split()
    assert len(steps) >= 8
    assert sorted(set(steps)) == ["6", "9"]
