"""segmill evaluate, and what the gate makes of two of its measurements."""

import cv2
import pytest
import yaml

from tasks.gate_rules import GATE_FILE
from tests.frozen_pages import OBJECTS, few_points, write_held_back, write_model
from vision.models import resolve_model

DEMO = resolve_model("demo").model_id


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    few_points(monkeypatch)


@pytest.fixture
def gate(tmp_path):
    """The gate as it is, for fewer images."""
    rules = yaml.safe_load(GATE_FILE.read_text()) | {"min_images": 2}
    path = tmp_path / "gate.yaml"
    path.write_text(yaml.safe_dump(rules))
    return path


def test_two_measurements_let_the_gate_decide_from_real_numbers(command, tmp_path, gate):
    write_held_back(tmp_path / "pages", pages=2)
    command("ingest", "pages", "--dataset", "comics", "--quiet")
    dry = command("evaluate", "--dataset", "comics", "--dry-run")
    assert f"{DEMO} would be measured on {2 * OBJECTS} objects of 2 images" in dry.out
    told = command("evaluate", "--dataset", "comics", "--json").json()
    assert (told["model_id"], told["split"], told["reused"]) == (DEMO, "test", False)
    assert (told["images"], told["pictures"]) == (2, [])
    dry = command("evaluate", "--dataset", "comics", "--dry-run", "--json").json()
    assert dry["measured_before"] == told["evaluation_id"]

    worse = write_model(tmp_path / "worse.safetensors", 2.0)
    command("models", "register", f"file:{worse}", "--name", "worse", "--quiet")
    found = command("evaluate", "--model", "model:worse", "--dataset", "comics")
    assert (found.code, "miou@1.centre" in found.out) == (0, True)
    assert f"was measured on {2 * OBJECTS} objects of 2 images" in found.err
    refused = command("models", "promote", "worse", "--gate", gate)
    assert refused.code == 1
    assert "miou@1.centre" in refused.out

    command("models", "promote", "worse", "--by-hand", "a test")
    reused = command("evaluate", "--dataset", "comics")
    assert "worse-" in reused.err
    assert "was measured before" in reused.err
    # What was refused beside the demo model gives way to it: its numbers are better for real.
    only = {"rules": [{"metric": "miou@1.centre", "must": "improve"}], "min_images": 2}
    gate.write_text(yaml.safe_dump(only))
    back = command("models", "promote", DEMO, "--gate", gate, "--json")
    assert (back.code, back.json()["live_id"]) == (0, DEMO)
    assert back.json()["decision"]["verdict"] == "promote"


def test_a_folder_is_measured_without_a_root(command, tmp_path, root):
    write_held_back(tmp_path / "pages", pages=1, split="val")
    options = ("--model", "demo", "--data", "pages", "--no-automatic")
    found = command("evaluate", *options, "--pictures", "worst")
    assert found.code == 0
    assert "1 image of pages: nothing was stored" in found.err
    assert "ar@1000" not in found.out
    assert "pictures: worst/worst.png and 1 other beside it" in found.err
    assert cv2.imread("worst/worst.png") is not None
    assert not root.exists()
    dry = command("evaluate", *options, "--split", "val", "--dry-run", "--json").json()
    assert (dry["images"], dry["measured_before"]) == (1, None)
    other = command("evaluate", *options, "--split", "test")
    assert (other.code, "segmill check pages" in other.err) == (2, True)


def test_what_cannot_be_measured_is_wrong_use(command, tmp_path):
    (tmp_path / "pages").mkdir()
    for options, words in (
        (("--dataset", "comics"), "no image in dataset 'comics'; there is none yet"),
        (("--split", "train"), "trained on"),
        (("--model", "model:none"), "model:none"),
        (("--model", "nonsense"), "expected promoted, model:ID"),
        (("--data", "nowhere"), "no such file or folder: nowhere"),
        (("--data", "pages", "--dataset", "comics"), "leave out"),
        (("--data", "pages", "--again"), "leave out"),
        (("--max-images", "0"), "--max-images"),
    ):
        told = command("evaluate", *options)
        assert told.code == 2, options
        assert words in told.err, options
