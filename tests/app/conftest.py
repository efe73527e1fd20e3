import json
import sys
from pathlib import Path

import pytest

from app import cli
from storage.lake import Lake


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
def root(tmp_path) -> Path:
    return tmp_path / "a root"


@pytest.fixture
def lake(root) -> Lake:
    """The tables of the root that `command` uses."""
    return Lake.open(str(root))
