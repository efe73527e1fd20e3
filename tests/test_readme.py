"""What the README says is so, and its commands run."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from examples.comics import write_drop
from storage.settings import Settings
from tests.drops import hold_back
from tests.short_trainings import short_training

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
COMMANDS = [
    shlex.split(line, comments=True)
    for block in BLOCKS
    for line in block.splitlines()
    if line.startswith(("make ", "segmill "))
]
RELEASED_WEIGHTS = "file:sam2.1_hiera_tiny.pt"


def table_under(heading: str) -> list[list[str]]:
    section = README.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    rows = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip().replace("`", "") for cell in row] for row in rows[2:]]


def test_the_table_of_deployments_is_that_of_prefect_yaml():
    deployments = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
    rows = {name: (pool, when) for name, pool, when in table_under("Deployments")}
    assert len(rows) == len(deployments)
    for deployment in deployments:
        flow = deployment["entrypoint"].split(".")[-1]
        pool, when = rows[f"{flow}/{deployment['name']}"]
        assert pool == deployment["work_pool"]["name"]
        for trigger in deployment.get("triggers", []):
            assert all(f"{event} event" in when for event in trigger["expect"])
        assert ("off until" in when) == any(
            not schedule.get("active", True) for schedule in deployment.get("schedules", [])
        )


def test_the_layout_names_every_folder():
    block = next(block for block in BLOCKS if block.startswith("app/"))
    named = {line.split("/")[0] for line in block.splitlines()}
    tracked = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    folders = {line.split("/")[0] for line in tracked.splitlines() if "/" in line}
    assert named == {name for name in folders if not name.startswith(".")}


def test_the_settings_exist():
    named = {
        row[0].removeprefix("SEGMILL_").lower()
        for row in table_under("Your own images and the real models")
    }
    assert named <= Settings.model_fields.keys()


def test_make_knows_the_recipes():
    recipes = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert {words[1] for words in COMMANDS if words[0] == "make"} <= set(recipes)


@pytest.mark.slow
def test_the_segmill_commands_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write_drop(tmp_path / "FOLDER", range(3, 7), size_px=256)
    hold_back(tmp_path / "FOLDER", 2)
    for name, value in short_training(tmp_path).items():
        monkeypatch.setenv(name, value)
    (tmp_path / "ROOT" / "inbox").mkdir(parents=True)
    weights = f"file:{ROOT / 'models/demo/sam2.safetensors'}"
    monkeypatch.setenv("SEGMILL_ROOT", str(tmp_path / "ROOT"))
    # `segmill provision` needs a server: tests/app/test_provision_command.py
    ran = [words for words in COMMANDS if words[0] == "segmill" and words[1] != "provision"]
    assert len(ran) >= 5
    for words in ran:
        arguments = [weights if word == RELEASED_WEIGHTS else word for word in words[1:]]
        done = subprocess.run(
            [sys.executable, "-m", "app.cli", *arguments],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        if words[1] == "sql":
            assert "segments" in done.stdout
    assert list((tmp_path / "crops").rglob("*.png"))
    assert list((tmp_path / "masks").glob("*.png"))
