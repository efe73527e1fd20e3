"""segmill models: register, list, show, compare, promote, rollback, export."""

import json
import re

import pytest
import yaml
from safetensors.torch import load_file, save_file

from storage.gate_decisions import read_decisions
from storage.promotions import read_promotions
from tasks.gate_rules import GATE_FILE
from tests.evaluations import measure
from tests.model_files import put_models
from vision.models import DEMO_FOLDER, resolve_model

FIRST = resolve_model("demo").model_id
DEMO_FILE = DEMO_FOLDER / "sam2.safetensors"


@pytest.fixture
def models(root, tmp_path):
    return [model.model_id for model in put_models(str(root), tmp_path, "ab")]


@pytest.fixture
def better(lake, models):
    """A model that the gate lets pass."""
    measure(lake, models[0], **{"miou@1.centre": 0.05})
    measure(lake, FIRST)
    return models[0]


def test_a_model_is_registered_and_listed(command, root, tmp_path):
    tensors = load_file(DEMO_FILE)
    tensors["no_mem_embed"] = tensors["no_mem_embed"] + 1e-3
    save_file(tensors, tmp_path / "tuned.safetensors")
    tuned = f"file:{tmp_path / 'tuned.safetensors'}"
    dry = command("models", "register", tuned, "--dry-run", "--json")
    assert (dry.code, dry.json()["registered"]) == (0, False)
    assert not root.exists()
    made = command(
        "models", "register", tuned, "--name", "Comic 7", "--parent", "demo", "--json"
    ).json()
    assert (made["registered"], made["model_id"][:8]) == (True, "comic-7-")
    assert made["parent_id"] == FIRST
    again = command("models", "register", tuned, "--name", "other")
    assert (again.code, "was registered before: comic-7-" in again.err) == (0, True)
    told = command("models", "list", "--json").json()
    rows = {row["reference"]: row for row in told["models"] if row["kind"] == "segmenter"}
    assert {name: row["live"] for name, row in rows.items()} == {
        "demo": True,
        f"model:{made['model_id']}": False,
    }
    assert told["live"]["promotion"] is None
    command("models", "promote", "comic-7", "--by-hand", "a test")
    lines = command("models", "list").out.splitlines()
    assert [f"model:{made['model_id']}" in line for line in lines if "*" in line] == [True]


def test_the_gate_decides_and_says_why(command, lake, better):
    dry = command("models", "promote", better[:4], "--dry-run")
    assert dry.code == 0
    assert f"{better} would become live in place of {FIRST}" in dry.err
    assert "better by more than noise" in dry.out
    assert read_promotions(lake) == []
    done = command("models", "promote", better[:4], "--note", "night 7", "--json")
    told = done.json()
    assert (told["live_id"], told["previous_id"], told["refused"]) == (better, FIRST, False)
    assert told["promotion"]["why"]["note"] == "night 7"
    again = command("models", "promote", better)
    assert (again.code, "is live already" in again.err) == (0, True)
    assert len(read_promotions(lake)) == 1


def test_a_refusal_exits_with_1_and_is_recorded(command, lake, models):
    measure(lake, models[0])
    measure(lake, FIRST)
    done = command("models", "promote", models[0])
    assert done.code == 1
    assert "luck with the images" in done.out
    assert f"the gate refuses {models[0]}: {FIRST} stays live" in done.err
    assert [each.verdict for each in read_decisions(lake)] == ["refuse"]
    as_json = command("models", "promote", models[0], "--json")
    assert (as_json.code, as_json.json()["refused"]) == (1, True)
    shown = command("models", "show", models[0])
    assert f"refuse in place of {FIRST}: miou@1.centre" in shown.out


def test_rules_of_ones_own_are_asked(command, better, tmp_path):
    rules = yaml.safe_load(GATE_FILE.read_text())
    rules["rules"][0]["min_gain"] = 0.5
    (tmp_path / "strict.yaml").write_text(yaml.safe_dump(rules))
    done = command("models", "promote", better, "--gate", "strict.yaml")
    assert (done.code, "less than the 0.5" in done.out) == (1, True)
    rules["rules"][0]["min_gian"] = 0.1
    (tmp_path / "wrong.yaml").write_text(yaml.safe_dump(rules))
    done = command("models", "promote", better, "--gate", "wrong.yaml")
    assert (done.code, "did you mean min_gain?" in done.err) == (2, True)


def test_rollback_is_one_more_promotion(command, lake, models):
    for model in models:
        command("models", "promote", model, "--by-hand", "a test")
    dry = command("models", "rollback", "--dry-run")
    assert f"{models[0]} would become live in place of {models[1]}" in dry.err
    done = command("models", "rollback", "--note", "cuts in two", "--replacing", models[1])
    assert done.code == 0
    again = command("models", "rollback", "--replacing", models[1])
    assert (again.code, f"{models[0]} became live" in again.err) == (1, True)
    last = read_promotions(lake)[-1]
    assert (last.model_id, last.why.reason, last.why.note) == (models[0], "rollback", "cuts in two")
    assert command("models", "rollback").code == 0
    nothing = command("models", "rollback")
    assert (nothing.code, "nothing to roll back to" in nothing.err) == (1, True)


def test_show_tells_what_is_known(command, better):
    first = command("models", "show")
    assert f"{FIRST} is live from the beginning" in first.out
    assert command("models", "show", "--json").json()["live"] is True
    command("models", "promote", better)
    out = command("models", "show").out
    for words in (f"{better}, live", "sha256", "miou@1.centre 0.", "promote in place of",
                  "promotion 1 in place of", ": gate, by "):  # fmt: skip
        assert words in out, words
    told = command("models", "show", better[:3], "--json").json()
    assert told["live"] is True
    assert told["files"]["model.safetensors"]["sha256"] == told["sha256"]
    assert len(told["evaluations"]) == len(told["decisions"]) == len(told["promotions"]) == 1
    assert '"per_image"' not in json.dumps(told)


def test_compare_tells_differences_with_intervals(command, better, models):
    out = command("models", "compare", better).out
    assert re.search(r"miou@1\.centre .*\+0\.0[45]", out)
    assert "on 40 images of pages/val" in out
    assert f"the gate would promote {better}" in out
    told = command("models", "compare", "demo", better, "--json").json()
    change = next(each for each in told["metrics"] if each["metric"] == "miou@1.centre")
    assert change["difference"]["high"] < 0
    assert told["gate"]["verdict"] == "refuse"
    none = command("models", "compare", models[1])
    assert (none.code, "no measurements of the same images" in none.err) == (1, True)


@pytest.mark.parametrize("verb", ["show", "promote", "compare", "export"])
def test_a_model_that_is_not_there_is_wrong_use(command, models, verb):
    extra = ["--output", "x.pt"] if verb == "export" else []
    told = command("models", verb, models[0][:-2] + "zz", *extra)
    assert (told.code, f"did you mean {models[0]}" in told.err) == (2, True)


def test_by_hand_and_the_gate_exclude_each_other(command, models):
    told = command("models", "promote", models[0], "--by-hand", "x", "--evaluation", "e")
    assert told.code == 2


def test_a_checkpoint_is_written_once(command, root, tmp_path):
    dry = command("models", "export", "demo", "--output", "live.pt", "--dry-run", "--json")
    assert (dry.code, (tmp_path / "live.pt").exists()) == (0, False)
    done = command("models", "export", "demo", "--output", "live.pt", "--json").json()
    assert (done["model_id"], done["image_size_px"]) == (FIRST, 512)
    assert (tmp_path / "live.pt").stat().st_size > 6_000_000
    again = command("models", "export", "demo", "--output", "live.pt")
    assert (again.code, "is there already" in again.err) == (2, True)
    assert not root.exists()


@pytest.mark.parametrize(
    "verb", ["list", "show", "compare", "register", "promote", "rollback", "export", "pull"]
)
def test_every_verb_has_examples(command, verb):
    told = command("models", verb, "--help")
    assert "Examples:" in told.out
    assert f"segmill models {verb}" in " ".join(told.out.split())
    assert "--json" in told.out


def test_status_tells_since_when_a_model_is_live_and_why(command, models):
    assert f"{FIRST} from the beginning" in command("status").out
    assert command("status", "--json").json()["live"]["promotion"] is None
    command("models", "promote", models[0], "--by-hand", "a test")
    out = command("status", "--json").json()["live"]
    assert (out["model_id"], out["promotion"]["why"]["note"]) == (models[0], "a test")
    out = command("status").out
    assert f"{models[0]} since 2" in out
    assert "UTC: by hand, a test, by " in out


def test_doctor_tells_a_live_model_that_is_gone(command, root, models):
    command("models", "promote", models[0], "--by-hand", "x")

    def segmenter():
        found = command("doctor", "--json").json()["findings"]
        return next(each for each in found if each["check"] == "segmenter")

    assert (segmenter()["state"], models[0] in segmenter()["found"]) == ("ok", True)
    (root / "models" / models[0] / "manifest.json").unlink()
    assert segmenter()["state"] == "problem"
    assert "manifest.json: it is missing" in segmenter()["found"]
