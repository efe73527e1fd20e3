"""Rules in a night, and curation.ready on a real Prefect server: once for the same masks."""

import json
import subprocess
import sys

import pytest

from flows.curate import run_curate, wanted_rules
from flows.nightly import run_nightly
from flows.requests import CurateRequest
from tasks.crossings import begin_crossing
from tasks.curation_rules import CurationRulesError
from tests.drops import BLUE, GREEN, RED, write_box_drop, write_document
from tests.prefect_server import ROOT, prefect_server, run

PICTURES = [
    [((4, 4, 10, 8), RED), ((30, 20, 12, 10), BLUE)],
    [((2, 30, 20, 10), RED), ((40, 5, 6, 6), GREEN)],
]
LABELS = "name: colors\nlabels: [{name: red}, {name: green}, {name: blue}]"


def write_images(mill):
    document = write_box_drop(mill.inbox / "monday", PICTURES, split="train")
    write_document(mill.inbox / "monday", document | {"annotations": []})


@pytest.fixture
def colors(mill, tmp_path):
    """Settings with a label set of the colours that the stand-in gives, and rules for it."""
    (tmp_path / "colors.yaml").write_text(LABELS)
    (tmp_path / "rules.yaml").write_text("min_score: 0.5\nlabels: {green: {accept: false}}")
    mill.settings = mill.settings.model_copy(
        update={
            "labels": str(tmp_path / "colors.yaml"),
            "curation_rules": str(tmp_path / "rules.yaml"),
        }
    )
    return mill


def test_a_night_accepts_what_fits_its_rules(colors):
    write_images(colors)
    summary, _ = run_nightly(colors.request, colors.settings, colors.run())
    assert summary.rules.accepted == {"blue": 1, "red": 2}
    assert (summary.curation.new, summary.curation.ready) == (3, False)
    assert json.loads(summary.model_dump_json())["rules"]["reopened"] == {}
    again, _ = run_nightly(colors.request, colors.settings, colors.run())
    assert again.rules.accepted == {}
    assert colors.ask("SELECT label, source FROM curated ORDER BY 1") == [
        ("blue", "rules"), ("red", "rules"), ("red", "rules"),
    ]  # fmt: skip


def test_a_night_without_rules_accepts_nothing(mill):
    write_images(mill)
    summary, _ = run_nightly(mill.request, mill.settings, mill.run())
    assert summary.rules is None
    assert mill.ask("SELECT count(*) FROM reviews") == [(0,)]


def test_the_rules_of_a_request_come_before_those_of_the_machine(colors, tmp_path):
    (tmp_path / "others.yaml").write_text("min_score: 0.6")
    request = CurateRequest(dataset="boxes", rules=str(tmp_path / "others.yaml"))
    assert wanted_rules(request, colors.settings, colors.run()).min_score == 0.6
    default = CurateRequest(dataset="boxes")
    assert wanted_rules(default, colors.settings, colors.run()).min_score == 0.5


def test_wrong_rules_stop_a_night_before_it_begins(colors, tmp_path):
    write_images(colors)
    (tmp_path / "rules.yaml").write_text("labels: {rd: {}}")
    with pytest.raises(CurationRulesError, match="did you mean 'red'"):
        run_nightly(colors.request, colors.settings, colors.run())
    assert colors.ask("SELECT count(*) FROM images") == [(0,)]


def test_a_dry_run_accepts_nothing(colors):
    write_images(colors)
    without = colors.settings.model_copy(update={"curation_rules": None})
    run_nightly(colors.request, without, colors.run())
    rules = wanted_rules(CurateRequest(), colors.settings, colors.run())
    summary = run_curate("boxes", rules, colors.settings, colors.run(), dry_run=True)
    assert (summary.rules.accepted, summary.curation.new) == ({"blue": 1, "red": 2}, 0)


CURATE = "from flows.curate import curate; print(curate({'dataset': 'boxes'}).model_dump_json())"
EVENTS = """
import json
from prefect.client.orchestration import get_client
from prefect.events.filters import EventFilter, EventNameFilter
wanted = EventFilter(event=EventNameFilter(name=["curation.ready"]))
with get_client(sync_client=True) as client:
    found = client.read_events(wanted, limit=50).events
print(json.dumps([[str(event.id), event.resource.id, event.payload] for event in found]))
"""


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_curation_ready_is_said_once_for_the_same_masks(colors, tmp_path):
    write_images(colors)
    without = colors.settings.model_copy(update={"curation_rules": None})
    run_nightly(colors.request, without, colors.run())
    settings = {
        "SEGMILL_ROOT": str(colors.root),
        "SEGMILL_LABELS": colors.settings.labels,
        "SEGMILL_CURATION_RULES": colors.settings.curation_rules,
        "SEGMILL_CURATED_MIN_NEW": "3",
        "PYTHONPATH": str(ROOT),
        "PREFECT_LOGGING_TO_CONSOLE": "false",
    }
    quick = {"PREFECT_SERVER_SERVICES_EVENT_PERSISTER_FLUSH_INTERVAL": "0.5"}
    with prefect_server(tmp_path, **quick) as environment:
        environment |= settings

        def tell(code):
            return json.loads(run([sys.executable, "-c", code], environment).splitlines()[-1])

        both = [
            subprocess.Popen(
                [sys.executable, "-c", CURATE],
                cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            )
            for _ in range(2)
        ]  # fmt: skip
        outputs = [process.communicate(timeout=240)[0] for process in both]
        assert [process.returncode for process in both] == [0, 0]
        found = [json.loads(output.splitlines()[-1]) for output in outputs]
        crossings = {item["crossing"]["crossing_id"] for item in found if item["crossing"]}
        (crossing_id,) = crossings
        # Both may have said it; then it was the same event.
        ((_, resource, payload),) = tell(EVENTS)
        assert resource == "dataset.boxes"
        assert payload == {
            "dataset": "boxes", "crossing_id": crossing_id, "new": 3, "needed": 3,
        }  # fmt: skip
        states = "SELECT state, count(*) FROM crossings GROUP BY 1 ORDER BY 1"
        assert colors.ask(states) == [("crossed", 1), ("said", 1)]
        again = tell(CURATE)
        assert (again["crossing"], again["curation"]["new"]) == (None, 0)
        assert len(tell(EVENTS)) == 1
    assert begin_crossing(colors.lake, crossing_id, "a run")
    assert not begin_crossing(colors.lake, crossing_id, "another run")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_what_was_not_said_is_said_by_the_next_run(colors, tmp_path):
    """The first run dies after it noted the crossing; the server knows nothing of it."""
    write_images(colors)
    run_nightly(colors.request, colors.settings, colors.run())
    settings = {
        "SEGMILL_ROOT": str(colors.root),
        "SEGMILL_LABELS": colors.settings.labels,
        "SEGMILL_CURATED_MIN_NEW": "3",
        "PYTHONPATH": str(ROOT),
        "PREFECT_LOGGING_TO_CONSOLE": "false",
    }
    dies = f"import os, flows.curate; flows.curate.emit = lambda *_, **__: os._exit(9); {CURATE}"
    quick = {"PREFECT_SERVER_SERVICES_EVENT_PERSISTER_FLUSH_INTERVAL": "0.5"}
    with prefect_server(tmp_path, **quick) as environment:
        environment |= settings
        died = subprocess.run([sys.executable, "-c", dies], cwd=ROOT, env=environment, timeout=240)
        assert died.returncode == 9
        states = "SELECT state, count(*) FROM crossings GROUP BY 1 ORDER BY 1"
        assert colors.ask(states) == [("crossed", 1)]
        healed = json.loads(run([sys.executable, "-c", CURATE], environment).splitlines()[-1])
        ((_, _, payload),) = json.loads(run([sys.executable, "-c", EVENTS], environment))
        assert payload["crossing_id"] == healed["crossing"]["crossing_id"]
        assert colors.ask(states) == [("crossed", 1), ("said", 1)]
