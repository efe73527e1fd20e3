"""Which model a night uses: the one that is live when it begins, to its end."""

import pytest

from flows.nightly import run_nightly
from tasks.live_model import live_model
from tasks.models import LoadedModels
from tasks.promote_model import promote_by_hand, roll_back
from tests.drops import BLUE, GREEN, RED, write_box_drop
from tests.fakes import ColorLabeller, ComponentSegmenter
from tests.model_files import put_models
from vision.models import resolve_model

FIRST = resolve_model("demo").model_id
PICTURES = [
    [((4, 4, 10, 8), RED)],
    [((30, 20, 12, 10), BLUE)],
    [((10, 10, 6, 6), GREEN)],
    [((2, 30, 20, 10), RED)],
]


class SegmenterThatSees(ComponentSegmenter):
    """Does something at its first image."""

    def __init__(self, act):
        super().__init__()
        self.act = act

    def segment(self, rgb):
        if not self.calls:
            self.act()
        return super().segment(rgb)


@pytest.fixture
def night(mill):
    def run(model="promoted", **changes):
        request = mill.request.model_copy(update={"model": model, **changes})
        return run_nightly(request, mill.settings, mill.run())[0]

    return run


def models_used(mill):
    return mill.ask(
        "SELECT model_id, count(DISTINCT image_id) FROM segments GROUP BY 1"
        " ORDER BY min(created_at)"
    )


def test_a_promotion_counts_from_the_next_night_on_and_so_does_a_rollback(
    mill, night, tmp_path, monkeypatch
):
    root = mill.settings.root
    (model,) = put_models(root, tmp_path, "a")
    write_box_drop(mill.inbox / "monday", PICTURES)
    segmenter = SegmenterThatSees(lambda: promote_by_hand(root, model.model_id, "meanwhile"))
    monkeypatch.setattr(
        "tasks.segment_batch.load_models",
        lambda choice, compute: LoadedModels(segmenter, ColorLabeller()),
    )
    summary = night()
    assert live_model(root).model_id == model.model_id
    assert (summary.segment.model_id, summary.segment.batches) == (FIRST, 2)
    assert models_used(mill) == [(FIRST, 4)]

    summary = night()
    assert summary.segment.model_id == model.model_id
    assert models_used(mill) == [(FIRST, 4), (model.model_id, 4)]

    roll_back(root)
    write_box_drop(mill.inbox / "tuesday", [[((8, 8, 30, 30), BLUE)]])
    summary = night()
    assert summary.segment.model_id == FIRST
    assert models_used(mill) == [(FIRST, 5), (model.model_id, 4)]
    units = mill.ask("SELECT model_id FROM units WHERE stage = 'stats' ORDER BY committed_at")
    assert units == [(FIRST,), (model.model_id,), (FIRST,)]


def test_a_night_with_a_registered_model_names_it_on_every_row(mill, night, tmp_path):
    (model,) = put_models(mill.settings.root, tmp_path, "a")
    write_box_drop(mill.inbox / "monday", PICTURES)
    assert night(model="model:a").segment.model_id == model.model_id
    assert models_used(mill) == [(model.model_id, 4)]
    report = next((mill.root / "reports").glob("*.html")).read_text()
    assert "live since" not in report
    promote_by_hand(mill.settings.root, "a", "x")
    night()
    report = next((mill.root / "reports").glob("*.html")).read_text()
    assert "live since" in report
    assert model.model_id in report
