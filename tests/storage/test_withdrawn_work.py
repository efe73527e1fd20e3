"""Work that is withdrawn while it is under way is stored whole or not at all."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from storage import retraction
from storage.errors import TableLogLostError, UnitWithdrawnError, UnknownProvenanceError
from storage.lake import Lake
from storage.retraction import plan_retraction, retract

Row = Callable[..., dict[str, Any]]
MODELS = {"model_id": "model", "params_id": "params", "label_set_id": "labels"}


class DiedError(Exception):
    pass


class Worker:
    """Does the work on a batch in steps, as another process would."""

    def __init__(self, lake: Lake, segment: Row, unit: str, tag: str, run: str = "run") -> None:
        self._lake, self._segment, self._unit = Lake(lake.root), segment, unit
        self._tag, self._run = tag, run
        self._life = self._lake.life(unit)

    def cut(self, *images: str) -> bool:
        rows = [
            self._segment(image_id=image, segment_id=f"{image}-{self._tag}", run_id=self._run,
                          **MODELS)
            for image in images
        ]  # fmt: skip
        return self._lake.append("segments", rows, self._unit, self._life)

    def count(self, image: str) -> bool:
        row = {"image_id": image, "label": "panel", "count": 1, "total_area_px": 12,
               "union_area_px": 12, **MODELS}  # fmt: skip
        return self._lake.append("image_labels", [row], self._unit, self._life)

    def finish(self, *images: str) -> bool:
        return self._lake.commit_unit(
            stage="segment", unit_id=self._unit, subject="batch", inputs=len(images), outputs=1,
            run_id=self._run, image_ids=images, life=self._life, **MODELS,
        )  # fmt: skip

    def work(self, *images: str) -> bool:
        self.cut(*images)
        return self.finish(*images)


def _segments(lake: Lake, committed_only: bool = True) -> list[str]:
    return sorted(lake.read("segments", committed_only)["segment_id"].to_pylist())


def _ingest(lake: Lake, image: Row, unit: str, drop: str, *images: str) -> None:
    lake.append("images", [image(x, drop_id=drop) for x in images], unit)
    lake.commit_unit(
        stage="ingest", unit_id=unit, subject=drop, inputs=len(images), outputs=len(images)
    )


@pytest.mark.parametrize("paused_after", ["nothing", "segments", "image_labels"])
def test_a_worker_that_paused_over_a_retraction_stores_no_part(
    local_lake: Lake, segment: Row, paused_after: str
):
    paused = Worker(local_lake, segment, "u", "paused")
    if paused_after != "nothing":
        assert paused.cut("a")
    if paused_after == "image_labels":
        assert paused.count("a")
    quick = Worker(local_lake, segment, "u", "quick")
    quick.cut("a")
    quick.count("a")
    assert quick.finish("a")
    retract(local_lake, plan_retraction(local_lake, "model", "model"))
    with pytest.raises(UnitWithdrawnError):
        if paused_after == "nothing":
            paused.cut("a")
        if paused_after != "image_labels":
            paused.count("a")
        paused.finish("a")
    assert local_lake.read("units").num_rows == 0
    again = Worker(local_lake, segment, "u", "again")
    assert again.cut("a")
    assert again.count("a")
    assert again.finish("a")
    assert _segments(local_lake) == _segments(local_lake, committed_only=False) == ["a-again"]
    assert local_lake.read("image_labels", committed_only=False).num_rows == 1


@pytest.mark.parametrize(("kind", "name"), [("run", "bad"), ("model", "model")])
def test_what_a_run_that_died_began_goes_too(local_lake: Lake, segment: Row, kind: Any, name: str):
    Worker(local_lake, segment, "u1", "bad", "bad").work("a")
    Worker(local_lake, segment, "u2", "bad", "bad").cut("b")
    plan = plan_retraction(local_lake, kind, name)
    assert (plan.units, plan.begun, plan.rows) == ({"segment": 1}, 1, {"segments": 2, "units": 1})
    assert retract(local_lake, plan) == {"segments": 2, "units": 1}
    assert _segments(local_lake, committed_only=False) == []
    Worker(local_lake, segment, "u1", "good", "good").work("a")
    Worker(local_lake, segment, "u2", "good", "good").work("b")
    assert _segments(local_lake) == ["a-good", "b-good"]
    with pytest.raises(UnknownProvenanceError):
        plan_retraction(local_lake, "run", "bad")


def test_a_run_that_died_before_it_finished_anything_can_be_retracted(
    local_lake: Lake, segment: Row
):
    Worker(local_lake, segment, "u", "bad", "bad").cut("a")
    assert retract(local_lake, plan_retraction(local_lake, "run", "bad")) == {"segments": 1}
    Worker(local_lake, segment, "u", "good", "good").work("a")
    assert _segments(local_lake) == ["a-good"]


def test_of_a_drop_goes_what_died_half_way(local_lake: Lake, image: Row):
    local_lake.append("images", [image("a", drop_id="monday")], "i")
    assert retract(local_lake, plan_retraction(local_lake, "drop", "monday")) == {"images": 1}
    assert local_lake.read("images", committed_only=False).num_rows == 0
    _ingest(local_lake, image, "i", "monday", "a")
    assert local_lake.read("images").num_rows == 1


def test_what_stays_of_a_unit_is_what_is_there_by_then(
    local_lake: Lake, segment: Row, image: Row, monkeypatch: pytest.MonkeyPatch
):
    _ingest(local_lake, image, "i1", "monday", "a", "shared")
    _ingest(local_lake, image, "i2", "tuesday", "shared")
    Worker(local_lake, segment, "s", "bad").work("a", "shared")

    def die(*_: Any, **__: Any) -> bool:
        raise DiedError

    with monkeypatch.context() as patched:
        patched.setattr(retraction, "replace_files", die)
        with pytest.raises(DiedError):
            retract(local_lake, plan_retraction(local_lake, "drop", "monday"))
    assert _segments(local_lake) == ["a-bad", "shared-bad"]
    retract(local_lake, plan_retraction(local_lake, "model", "model"))
    Worker(local_lake, segment, "s", "good").work("a", "shared")
    assert _segments(local_lake) == ["a-good", "shared-good"]
    retract(local_lake, plan_retraction(local_lake, "drop", "monday"))
    assert _segments(local_lake) == _segments(local_lake, committed_only=False) == ["shared-good"]


def test_what_became_of_it_after_it_was_planned_goes_too(
    local_lake: Lake, segment: Row, image: Row
):
    _ingest(local_lake, image, "i1", "monday", "a", "shared")
    _ingest(local_lake, image, "i2", "tuesday", "shared")
    Worker(local_lake, segment, "s1", "x").work("a", "shared")
    plan = plan_retraction(local_lake, "model", "model")
    retract(local_lake, plan_retraction(local_lake, "drop", "monday"))
    Worker(local_lake, segment, "s2", "x").work("late")
    assert _segments(local_lake) == ["late-x", "shared-x"]
    retract(local_lake, plan)
    assert _segments(local_lake) == _segments(local_lake, committed_only=False) == []
    assert retract(local_lake, plan) == {}


def test_a_count_from_before_a_retraction_is_not_stored(local_lake: Lake, segment: Row):
    Worker(local_lake, segment, "u", "x").work("a")
    before, life = local_lake.retractions(), local_lake.life("count")
    retract(local_lake, plan_retraction(local_lake, "model", "model"))
    assert local_lake.retractions() == before + 1
    about: dict[str, Any] = {"stage": "stats", "unit_id": "count", "subject": "comics"}
    with pytest.raises(UnitWithdrawnError, match="run the same command again"):
        local_lake.commit_unit(**about, inputs=1, outputs=1, life=life, retractions=before)
    assert local_lake.commit_unit(
        **about, inputs=1, outputs=1, life=life, retractions=local_lake.retractions()
    )


def test_a_table_whose_log_is_lost_is_not_begun_anew(lake: Lake, segment: Row):
    Worker(lake, segment, "u", "x").work("a")
    if lake.is_local:
        shutil.rmtree(Path(lake.root) / "segments/_delta_log")
    else:
        for found in list(lake.objects.list("segments/_delta_log/")):
            lake.objects.delete(found.key)
    with pytest.raises(TableLogLostError, match="segments/_delta_log is missing; put it back"):
        Worker(lake, segment, "u2", "x").cut("b")
    assert len([x for x in lake.objects.list("segments/") if x.key.endswith(".parquet")]) == 1
