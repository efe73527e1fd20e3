"""The loop on a real server: drop, night, rules, event, training, gate, next night, rollback."""

import json
import sys
import time
from contextlib import ExitStack

import pytest

from examples.comics.drop import write_drop
from storage.lake import Lake
from storage.promotions import read_promotions
from storage.session import connect
from tests.drops import hold_back
from tests.prefect_server import PREFECT, background, prefect_server, run
from tests.short_trainings import short_training

SEGMILL = [sys.executable, "-m", "app.cli"]
RULES = "min_score: 0.0\nlabels:\n  unknown: {accept: false}\n"


def ask(root, sql):
    with connect(Lake.open(str(root))) as session:
        return session.execute(sql).fetchall()


def wait_until(seconds, condition):
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(1)
    return True


def write_images(folder, seeds):
    """A drop without annotations."""
    write_drop(folder, seeds, size_px=192)
    (folder / "annotations.json").unlink()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_what_was_curated_trains_the_model_of_the_next_night(tmp_path):
    root = tmp_path / "root"
    write_drop(root / "inbox" / "annotated", range(500, 505), size_px=192)
    hold_back(root / "inbox" / "annotated", 2)
    write_images(root / "inbox" / "bare", [505])
    (tmp_path / "rules.yaml").write_text(RULES)
    log = tmp_path / "worker.log"
    with prefect_server(tmp_path) as environment, ExitStack() as workers:
        environment |= short_training(tmp_path) | {
            "SEGMILL_ROOT": str(root),
            "SEGMILL_CURATION_RULES": str(tmp_path / "rules.yaml"),
            "SEGMILL_CURATED_MIN_NEW": "20",
            "PREFECT_WORKER_QUERY_SECONDS": "1",
        }
        run([*SEGMILL, "provision"], environment)
        run([*PREFECT, "--no-prompt", "deploy", "--all"], environment)
        for pool in ("cpu", "gpu"):
            worker = [*PREFECT, "worker", "start", "--pool", pool]
            workers.enter_context(background(worker, environment, log))
        # Looked for in the tables: where SQLite is locked for a while, --watch may miss the end.
        night = [*PREFECT, "deployment", "run", "nightly/nightly"]
        run(night, environment)
        pages = "SELECT count(DISTINCT image_id) FROM units, unnest(image_ids) AS _(image_id)"
        segmented = f"{pages} WHERE stage = 'segment'"
        assert wait_until(300, lambda: ask(root, segmented) == [(6,)]), log.read_text()
        first = ask(root, "SELECT DISTINCT model_id FROM segments")
        assert len(first) == 1 and first[0][0].startswith("demo-")
        # Nobody asks for it: the event starts the training, and the gate decides.
        promoted = wait_until(300, lambda: read_promotions(Lake.open(str(root))))
        assert promoted, log.read_text()
        assert ask(root, "SELECT count(*) > 0 FROM curated WHERE source = 'rules'") == [(True,)]
        (promotion,) = read_promotions(Lake.open(str(root)))
        assert (promotion.previous_id, promotion.why.reason) == (first[0][0], "gate")
        assert ask(root, "SELECT state, count(*) FROM crossings GROUP BY 1 ORDER BY 1") == [
            ("begun", 1), ("crossed", 1), ("said", 1),
        ]  # fmt: skip
        assert ask(root, "SELECT state, base_model_id FROM training_runs") == [
            ("completed", first[0][0])
        ]
        held_back = ask(root, "SELECT DISTINCT split, images FROM evaluations")
        assert held_back == [("val", 2)]
        write_images(root / "inbox" / "later", [506])
        run(night, environment)
        assert wait_until(300, lambda: ask(root, segmented) == [(7,)]), log.read_text()
    newest = ask(root, "SELECT model_id FROM segments ORDER BY created_at DESC LIMIT 1")
    assert newest == [(promotion.model_id,)]
    back = json.loads(run([*SEGMILL, "models", "rollback", "--json"], environment))
    assert back["live_id"] == first[0][0]
