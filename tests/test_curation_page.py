"""What docs/curation.md says is so, and its commands run."""

import re
import shlex

import pytest
import yaml

from examples.comics import write_drop
from flows import events
from storage.settings import Settings
from tasks.curation_rules import Thresholds
from tasks.models import LoadedModels
from tasks.review_decisions import DECISIONS
from tests.app.conftest import Told, command  # noqa: F401  a fixture
from tests.fakes import ColorLabeller, ComponentSegmenter
from tests.prefect_server import ROOT

PAGE = (ROOT / "docs" / "curation.md").read_text()
BLOCKS = re.findall(r"^```\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
COMMANDS = [
    shlex.split(line)[1:]
    for block in BLOCKS
    for line in block.splitlines()
    if line.startswith("segmill ")
]


@pytest.fixture
def mine(command, tmp_path, monkeypatch):  # noqa: F811
    """A dataset `mine` of pages with annotations, cut by stand-ins; what `command` uses."""
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    monkeypatch.setattr(
        "tasks.segment_batch.load_models",
        lambda choice, device: LoadedModels(ComponentSegmenter(), ColorLabeller()),
    )
    for name, variable in (("cutter", "SEGMILL_MODEL"), ("namer", "SEGMILL_CLIP_MODEL")):
        (tmp_path / f"{name}.safetensors").write_bytes(name.encode())
        monkeypatch.setenv(variable, f"file:{tmp_path / name}.safetensors")
    write_drop(tmp_path / "pages", range(2), size_px=128)
    told = command("nightly", "pages", "--dataset", "mine", "--json")
    assert told.code == 0, told.err
    return command


def test_the_commands_run(mine):
    found = mine("sql", "SELECT segment_id FROM segments", "--format", "json").json()
    assert len(COMMANDS) >= 10
    # The ids of the page are those of other pages.
    named = dict.fromkeys(w for words in COMMANDS for w in words if re.fullmatch("[0-9a-f]{12}", w))
    ids = dict(zip(named, (row["segment_id"] for row in found), strict=False))
    assert len(ids) == len(named) >= 3
    for words in COMMANDS:
        arguments = [ids.get(word, word) for word in words]
        told: Told = mine(*arguments)
        stale = "--based-on" in arguments
        assert told.code == (1 if stale else 0), (arguments, told.err)
    assert mine("sql", "SELECT count(*) AS n FROM reviews", "--format", "json").json() != [{"n": 0}]


def test_settings_events_keys_and_decisions_exist():
    named = {name.lower() for name in re.findall(r"SEGMILL_([A-Z_]+)", PAGE)}
    assert named <= Settings.model_fields.keys()
    assert events.CURATION_READY in PAGE
    assert all(f"`{name}`" in PAGE for name in Thresholds.model_fields if name != "accept")
    assert all(f"| `{name}" in PAGE for name in DECISIONS)
    deployments = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
    assert "on-segments" in {deployment["name"] for deployment in deployments}
    assert "`curate/on-segments`" in PAGE


def test_pictures_and_pages_exist():
    for place in re.findall(r"\]\(([^)]+)\)", PAGE):
        assert (ROOT / "docs" / place).exists(), place
