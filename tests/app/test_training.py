"""segmill train: from a dataset through the gate, or from a folder to a model's file."""

import pytest
from safetensors import safe_open

from examples.comics import write_drop
from tasks.live_model import live_model
from tests.drops import hold_back
from tests.short_trainings import SHORT, short_training


@pytest.fixture
def pages(tmp_path):
    write_drop(tmp_path / "pages", range(700, 706), size_px=192)
    hold_back(tmp_path / "pages", 2)
    return tmp_path / "pages"


@pytest.fixture
def curated(command, pages, tmp_path, monkeypatch):
    """`command`, with a dataset of annotated pages and short trainings."""
    for name, value in short_training(tmp_path).items():
        if name != "SEGMILL_GATE":
            monkeypatch.setenv(name, value)
    assert command("ingest", "pages", "--dataset", "comics").code == 0
    return command


def test_a_plan_says_what_would_be_learnt_from(curated, root, tmp_path):
    told = curated("train", "--dataset", "comics", "--dry-run", "--json").json()
    assert told["base_model_id"].startswith("demo-")
    assert sum(told["labels"].values()) == told["masks"] > 50
    assert "learns from" in curated("train", "--dataset", "comics", "--dry-run").err
    assert not (tmp_path / "training").exists()


@pytest.mark.slow
def test_what_the_gate_lets_through_is_live_and_can_be_taken_back(curated, root, tmp_path):
    asked = ["train", "--dataset", "comics", "--promote"]
    refused = curated(*asked)
    assert refused.code == 1
    assert "the gate refuses comics-" in refused.err
    assert "images" in refused.out  # too few of them
    assert live_model(str(root)).model_id.startswith("demo-")

    told = curated(*asked, "--gate", "gate.yaml", "--json").json()
    assert told["training"]["steps"] == 2
    assert (told["candidate"]["reused"], told["live"]["reused"]) == (True, True)
    made = told["training"]["model_id"]
    assert told["outcome"]["promotion"]["model_id"] == made == live_model(str(root)).model_id
    assert made in curated("status", "--dataset", "comics").out
    runs = curated("sql", "SELECT state, steps FROM training_runs", "--format", "json").json()
    assert runs == [{"state": "completed", "steps": 2}]
    assert curated("models", "rollback").code == 0
    assert live_model(str(root)).model_id.startswith("demo-")


@pytest.mark.slow
def test_a_folder_becomes_a_model_without_tables(command, pages, root, tmp_path):
    (tmp_path / "short.yaml").write_text(SHORT)
    told = command(
        "train", "--data", "pages", "--model", "demo", "--output", "out", "--config", "short.yaml"
    )
    assert told.code == 0, told.err
    assert "2 steps" in told.err
    with safe_open(tmp_path / "out" / "model.safetensors", "pt") as file:
        assert file.metadata()["image_size"] == "128"
    assert not (root / "lake").exists()
    assert "next: segmill models register file:" in told.err
    registered = command("models", "register", "file:out/model.safetensors", "--name", "mine")
    assert registered.code == 0, registered.err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--set", "optimizer.lrr=1"], "optimizer.lr"),
        (["--set", "limits.steps"], "expected section.key=value"),
        (["--config", "nowhere.yaml"], "nowhere.yaml"),
        (["--model", "model:nothing"], "nothing"),
        (["--output", "somewhere"], "--output is of --data"),
        (["--data", "nowhere"], "there is no folder nowhere"),
        (["--data", "pages", "--promote"], "leave out --data"),
        (["--data", "pages", "--dataset", "default"], "--dataset is of the tables"),
        ([], "no curated mask"),
    ],
)
def test_wrong_use_is_told(command, arguments, told):
    found = command("train", *arguments)
    assert found.code == 2, found.err
    assert told in found.err
