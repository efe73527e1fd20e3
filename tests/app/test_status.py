"""segmill status, with and without a night, and without a server."""

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tasks.models import LoadedModels
from tests.drops import BLUE, RED, write_box_drop
from tests.fakes import ColorLabeller, ComponentSegmenter
from tests.prefect_server import free_port


@pytest.fixture
def status(command, monkeypatch, tmp_path):
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    monkeypatch.setenv("SEGMILL_CURATED_MIN_NEW", "3")
    monkeypatch.setattr(
        "tasks.segment_batch.load_models",
        lambda choice, device: LoadedModels(ComponentSegmenter(), ColorLabeller()),
    )
    for name in ("cutter", "namer"):
        (tmp_path / f"{name}.safetensors").write_bytes(name.encode())
        variable = "SEGMILL_MODEL" if name == "cutter" else "SEGMILL_CLIP_MODEL"
        monkeypatch.setenv(variable, f"file:{tmp_path / name}.safetensors")

    def run(*arguments):
        answer = command("status", "--dataset", "boxes", "--json", *arguments)
        assert answer.code == 0, answer.err
        return answer.json()

    return run


def test_an_empty_root_has_nothing_to_tell(status, root):
    told = status()
    assert (told["images"], told["last_runs"], told["drops_waiting"]) == (0, [], [])
    assert told["server"] is None
    assert "PREFECT_API_URL" in told["server_problem"]
    assert not root.exists()


def test_a_night_is_told_stage_by_stage(status, command, root):
    boxes = [((4, 4, 10, 8), RED), ((30, 20, 12, 10), BLUE)]
    write_box_drop(root / "inbox" / "monday", [boxes, boxes[:1]], split="train")
    told = status()
    assert told["drops_waiting"] == ["inbox/monday/"]
    (root / "inbox" / "monday" / "images" / "p2.png").write_bytes(b"no image")
    night = command("nightly", "--dataset", "boxes", "--json")
    write_box_drop(root / "inbox" / "slow", [boxes], done=False)
    told = status()
    assert night.json()["segment"]["segments"] == told["segments"] == 2
    assert [run["stage"] for run in told["last_runs"]] == ["ingest", "segment", "stats"]
    assert len({run["run_id"] for run in told["last_runs"]}) == 1
    assert "one run" in command("status", "--dataset", "boxes").out
    assert (told["images"], told["images_pending"]) == (1, 0)
    assert (told["images_deferred"], told["deferred_because"], told["cost"]) == (0, "", None)
    assert [run["devices"] for run in told["last_runs"]] == [[], ["cpu"], []]
    assert [run["device_seconds"] is None for run in told["last_runs"]] == [True, False, True]
    assert (told["drops_waiting"], told["drops_uploading"]) == ([], ["inbox/slow/"])
    curation = {"new": 2, "needed": 3, "ready": False, "curated": 2, "too_few": {}}
    assert told["curation"] == curation | {"held_back": 0}
    assert sum(told["quarantine"].values()) >= 1
    assert told["model_id"].startswith("cutter-")
    other = command("status", "--json").json()
    assert (other["images"], other["last_runs"], other["quarantine"]) == (0, [], {})


def test_a_server_that_is_down_is_told_and_no_hindrance(status, command, monkeypatch):
    from prefect.settings import PREFECT_API_URL, temporary_settings

    with temporary_settings({PREFECT_API_URL: f"http://127.0.0.1:{free_port()}/api"}):
        told = status()
        assert (told["server"], "no answer" in told["server_problem"]) == (None, True)
        answer = command("status", "--dataset", "boxes")
    assert answer.code == 0
    assert "no answer" in answer.out
    assert "live model" in answer.out


def test_prometheus_reads_the_same_numbers(command, root):
    write_box_drop(root / "inbox" / "one", [[((4, 4, 10, 8), RED)]])
    (root / "inbox" / "one" / "_DONE").touch()
    told = command("status", "--dataset", "boxes", "--prometheus")
    (waiting,) = [
        sample
        for family in text_string_to_metric_families(told.out)
        for sample in family.samples
        if sample.name == "segmill_drops_waiting"
    ]
    assert (waiting.labels, waiting.value) == ({"dataset": "boxes"}, 1.0)
    assert 'segmill_live_model_info{dataset="boxes",model_id="demo-' in told.out
