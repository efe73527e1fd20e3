"""The commands of docs/models.md run, in the order in which they stand there."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from storage.lake import Lake
from tests.evaluations import measure
from vision.models import DEMO_FOLDER, resolve_model

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "models.md").read_text()


@pytest.mark.slow
def test_the_commands_run(tmp_path, monkeypatch):
    tensors = load_file(DEMO_FOLDER / "sam2.safetensors")
    tensors["no_mem_embed"] = tensors["no_mem_embed"] + 1e-3
    (tmp_path / "runs" / "7").mkdir(parents=True)
    save_file(tensors, tmp_path / "runs" / "7" / "model.safetensors", {"image_size": "512"})
    monkeypatch.setenv("SEGMILL_ROOT", str(tmp_path / "ROOT"))
    lines = re.findall(r"^segmill .*$", PAGE, re.MULTILINE)
    assert len(lines) >= 7
    for line in lines:
        if "--format hf" in line:
            continue  # needs transformers: tests/tasks/test_export_model.py
        done = subprocess.run(
            [sys.executable, "-m", "app.cli", *shlex.split(line)[1:]],
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, (line, done.stderr)
        if " register " in line:
            (row,) = Lake.open(str(tmp_path / "ROOT")).read("models").to_pylist()
            lake = Lake.open(str(tmp_path / "ROOT"))
            # As `segmill evaluate` would leave them.
            measure(lake, row["model_id"], **{"miou@1.centre": 0.05})
            measure(lake, resolve_model("demo").model_id)
        if "--json" in line:
            assert json.loads(done.stdout)["gate"]["verdict"] == "promote"
    assert (tmp_path / "comic-7.pt").is_file()


def test_the_page_names_every_verb():
    from app.registry import models

    verbs = {command.name or command.callback.__name__ for command in models.registered_commands}
    assert verbs - {"list"} <= set(re.findall(r"segmill models ([a-z]+)", PAGE))
