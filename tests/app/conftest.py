import json
import sys
from pathlib import Path

import pytest

from app import cli
from storage.lake import Lake
from tasks.models import LoadedModels
from tests.drops import BLUE, GRAY, RED, write_box_drop
from tests.fakes import ColorLabeller, ComponentSegmenter


class Told:
    """What a command said: exit code, stdout as text, and stderr without its frames."""

    def __init__(self, code, out, err):
        self.code, self.data = code, out
        self.err = " ".join(err.decode().replace("│", " ").split())

    @property
    def out(self):
        return self.data.decode()

    def json(self):
        return json.loads(self.data)


@pytest.fixture
def command(tmp_path, monkeypatch, capsysbinary):
    """Run the command in an empty folder, with a root of its own beside it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SEGMILL_ROOT", str(tmp_path / "a root"))

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["segmill", *map(str, arguments)])
        capsysbinary.readouterr()
        code = 0
        try:
            cli.main()
        except SystemExit as stop:
            code = stop.code or 0
        return Told(code, *capsysbinary.readouterr())

    return run


@pytest.fixture
def segmill(command, tmp_path, monkeypatch):
    """`command`, with stand-ins for the models."""
    for place in ("tasks.segment_batch.load_models", "tasks.models.load_models"):
        monkeypatch.setattr(
            place, lambda choice, device: LoadedModels(ComponentSegmenter(), ColorLabeller())
        )
    for name in ("cutter", "namer"):
        (tmp_path / f"{name}.safetensors").write_bytes(name.encode())
    monkeypatch.setenv("SEGMILL_MODEL", "file:cutter.safetensors")
    monkeypatch.setenv("SEGMILL_CLIP_MODEL", "file:namer.safetensors")
    return command


@pytest.fixture
def drop(tmp_path) -> Path:
    """Two pages of boxes: a red and a blue one, and a gray one that no label fits."""
    pages = [[((4, 4, 10, 8), RED), ((30, 20, 12, 10), BLUE)], [((2, 30, 20, 10), GRAY)]]
    write_box_drop(tmp_path / "drop", pages)
    return tmp_path / "drop"


@pytest.fixture
def root(tmp_path) -> Path:
    return tmp_path / "a root"


@pytest.fixture
def lake(root) -> Lake:
    """The tables of the root that `command` uses."""
    return Lake.open(str(root))
