"""A retraction hides all at once, removes what it hid, and lets the same work be done again."""

import itertools
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from storage import retraction
from storage.errors import DamagedFileError, UnknownProvenanceError
from storage.lake import Lake
from storage.maintenance import maintain_table
from storage.retraction import plan_retraction, retract
from storage.rewriting import list_files, read_content
from storage.session import connect
from storage.unit_lives import is_committed

Row = Callable[..., dict[str, Any]]
QUOTED = 'mo\'del "x"; --'


class DiedError(Exception):
    pass


@pytest.fixture
def cut(segment: Row) -> Callable[..., bool]:
    """Commit a unit that cut images, one segment each."""

    def commit(lake: Lake, unit: str, images: list[str], model: str, run: str = "run") -> bool:
        rows = [segment(image_id=x, model_id=model, segment_id=f"{x}-{model}") for x in images]
        lake.append("segments", rows, unit)
        lake.append("quarantine", [], unit)
        return lake.commit_unit(
            stage="segment", unit_id=unit, subject="batch", inputs=len(images),
            outputs=len(images), run_id=run, image_ids=images, model_id=model,
            params_id="params", label_set_id="labels", device_seconds=1.5 * len(images),
            device="cpu",
        )  # fmt: skip

    return commit


def _segments(lake: Lake) -> list[str]:
    return sorted(lake.read("segments")["segment_id"].to_pylist())


def _stored(lake: Lake) -> list[str]:
    return sorted(lake.read("segments", committed_only=False)["segment_id"].to_pylist())


def test_what_a_model_cut_goes_and_the_rest_stays(lake: Lake, cut: Callable[..., bool]):
    cut(lake, "u1", ["a", "b"], QUOTED)
    cut(lake, "u2", ["c"], QUOTED)
    cut(lake, "u3", ["a"], "other")
    plan = plan_retraction(lake, "model", QUOTED)
    assert plan.units == {"segment": 2}
    assert plan.rows == {"segments": 3, "units": 2}
    assert _segments(lake) == ["a-" + QUOTED, "a-other", "b-" + QUOTED, "c-" + QUOTED]
    assert retract(lake, plan) == {"segments": 3, "units": 2}
    assert _segments(lake) == _stored(lake) == ["a-other"]
    assert not lake.has_unit("units", "u1")
    assert lake.has_unit("units", "u3")


def test_the_same_work_can_be_done_again_and_again_and_is_done_once(
    lake: Lake, cut: Callable[..., bool]
):
    for _ in range(3):
        assert cut(lake, "u1", ["a", "b"], "model")
        assert not cut(lake, "u1", ["a", "b"], "model")
        assert _segments(lake) == _stored(lake) == ["a-model", "b-model"]
        retract(lake, plan_retraction(lake, "model", "model"))
        assert _segments(lake) == _stored(lake) == []
        for table in ("segments", "units"):
            maintain_table(lake, table)


def test_of_merged_files_only_the_rows_of_the_unit_go(lake: Lake, cut: Callable[..., bool]):
    for number in range(6):
        cut(lake, f"u{number}", [f"image-{number}"], f"model-{number % 2}")
    for table in ("segments", "units"):
        maintain_table(lake, table)
    retract(lake, plan_retraction(lake, "model", "model-1"))
    expected = [f"image-{number}-model-0" for number in (0, 2, 4)]
    assert _segments(lake) == _stored(lake) == expected
    for table in ("segments", "units"):
        maintain_table(lake, table)
    assert _segments(lake) == expected
    assert cut(lake, "u1", ["image-1"], "model-1")
    assert "image-1-model-1" in _segments(lake)


@pytest.mark.parametrize("name", ["model", "x' OR '1'='1", ""])
def test_what_nothing_comes_from_is_named_with_what_there_is(
    lake: Lake, cut: Callable[..., bool], name: str
):
    cut(lake, "u1", ["a"], "known")
    with pytest.raises(UnknownProvenanceError, match="expected one of known"):
        plan_retraction(lake, "model", name)
    with pytest.raises(UnknownProvenanceError, match="expected one of run"):
        plan_retraction(lake, "run", name)
    assert _segments(lake) == ["a-known"]


def test_an_empty_lake_has_nothing_to_retract(lake: Lake):
    with pytest.raises(UnknownProvenanceError, match="they name no drop at all"):
        plan_retraction(lake, "drop", "monday")


def test_dying_between_any_two_commits_leaves_readers_right_and_the_next_one_finishes(
    tmp_path: Path, cut: Callable[..., bool], monkeypatch: pytest.MonkeyPatch
):
    died = 0
    for steps in itertools.count():
        lake = Lake.open(str(tmp_path / str(steps)))
        cut(lake, "u1", ["a", "b"], "model")
        cut(lake, "u2", ["c"], "other")
        plan = plan_retraction(lake, "model", "model")
        with monkeypatch.context() as dying:
            _die_after(dying, steps)
            try:
                retract(lake, plan)
                break
            except DiedError:
                died += 1
        assert _segments(lake) in (["a-model", "b-model", "c-other"], ["c-other"])
        hidden = _segments(lake) == ["c-other"]
        left = plan_retraction(lake, "model", "model") if "a-model" in _stored(lake) else None
        if left is not None:
            assert (left.leftovers > 0) == hidden
            retract(lake, left)
        assert _segments(lake) == _stored(lake) == ["c-other"]
        assert cut(lake, "u1", ["a", "b"], "model")
        assert _stored(lake) == ["a-model", "b-model", "c-other"]
    assert died >= 3


@pytest.mark.parametrize("steps", [1, 2])
def test_work_that_is_done_again_before_the_old_rows_are_gone_takes_their_place(
    local_lake: Lake, cut: Callable[..., bool], monkeypatch: pytest.MonkeyPatch, steps: int
):
    """The new rows must count, not those that were withdrawn: those may have been bad."""
    cut(local_lake, "u1", ["a", "bad"], "model")
    plan = plan_retraction(local_lake, "model", "model")
    with monkeypatch.context() as dying:
        _die_after(dying, steps)
        with pytest.raises(DiedError):
            retract(local_lake, plan)
    assert cut(local_lake, "u1", ["a", "good"], "model")
    assert _segments(local_lake) == _stored(local_lake) == ["a-model", "good-model"]
    with pytest.raises(DiedError), monkeypatch.context() as dying:
        _die_after(dying, 0)
        retract(local_lake, plan)


def _die_after(dying: pytest.MonkeyPatch, steps: int) -> None:
    """Die at the commit after so many."""
    left = itertools.count(steps, -1)
    for module, name in (("retraction", "replace_files"), ("rewriting", "replace_files")):
        original = getattr(retraction, name)

        def commit(*arguments: Any, original: Any = original, **options: Any) -> bool:
            if next(left) <= 0:
                raise DiedError
            return bool(original(*arguments, **options))

        dying.setattr(f"storage.{module}.{name}", commit)


def test_a_session_that_is_opened_meanwhile_sees_all_or_nothing(
    local_lake: Lake, cut: Callable[..., bool], monkeypatch: pytest.MonkeyPatch
):
    cut(local_lake, "u1", ["a"], "model")
    cut(local_lake, "u2", ["b"], "other")
    plan, original, pending = plan_retraction(local_lake, "model", "model"), Lake.table, [True]

    def retract_after_units(self: Lake, table: str, version: int | None = None) -> Any:
        found = original(self, table, version)
        if table == "units" and pending:
            pending.clear()
            retract(Lake(local_lake.root), plan)
        return found

    monkeypatch.setattr(Lake, "table", retract_after_units)
    with connect(local_lake) as session:
        units = session.sql("SELECT unit_id FROM units ORDER BY 1").fetchall()
        segments = session.sql("SELECT unit_id FROM segments ORDER BY 1").fetchall()
    assert not pending
    assert units == segments == [("u2",)]


def test_a_damaged_file_of_the_unit_alone_does_not_stand_in_the_way(
    local_lake: Lake, cut: Callable[..., bool]
):
    cut(local_lake, "u1", ["a"], "model")
    path = Path(local_lake.file_uris("segments")[0])
    found = pq.read_metadata(path).row_group(0)
    content = bytearray(path.read_bytes())
    content[found.column(found.num_columns - 1).data_page_offset + 30] ^= 4
    path.write_bytes(content)
    with pytest.raises(DamagedFileError):
        read_content(local_lake, "segments", list_files(local_lake.table("segments"))[0])
    retract(local_lake, plan_retraction(local_lake, "model", "model"))
    assert _stored(local_lake) == []
    assert cut(local_lake, "u1", ["a"], "model")
    assert _segments(local_lake) == ["a-model"]


def test_writers_in_between_lose_nothing(lake: Lake, cut: Callable[..., bool]):
    cut(lake, "u1", ["a"], "model")
    plan = plan_retraction(lake, "model", "model")
    cut(lake, "u2", ["b"], "other")
    for table in ("segments", "units"):
        maintain_table(lake, table)
    retract(lake, plan)
    assert _segments(lake) == _stored(lake) == ["b-other"]
    assert retract(lake, plan) == {}


def _ingest(lake: Lake, image: Row, unit: str, drop: str, images: list[str]) -> bool:
    lake.append("images", [image(x, drop_id=drop) for x in images], unit)
    lake.append("annotations", [], unit)
    lake.append("quarantine", [], unit)
    return lake.commit_unit(
        stage="ingest", unit_id=unit, subject=drop, inputs=len(images), outputs=len(images),
        run_id=f"run of {drop}",
    )  # fmt: skip


def test_of_a_drop_go_its_images_and_what_was_made_of_those_that_no_other_brings(
    lake: Lake, image: Row, cut: Callable[..., bool]
):
    _ingest(lake, image, "i1", "monday", ["a", "b", "shared"])
    _ingest(lake, image, "i2", "tuesday", ["shared", "c"])
    cut(lake, "s1", ["a", "b"], "model")
    cut(lake, "s2", ["shared"], "model")
    cut(lake, "s3", ["c"], "model")
    stats = {"stage": "stats", "inputs": 4, "outputs": 0, "model_id": "model",
             "params_id": "params", "label_set_id": "labels"}  # fmt: skip
    lake.commit_unit(unit_id="counted", subject="comics", **stats)
    lake.commit_unit(unit_id="elsewhere", subject="photos", **stats)
    plan = plan_retraction(lake, "drop", "monday")
    assert plan.units == {"ingest": 1, "segment": 1, "stats": 1}
    assert plan.images == 2
    assert plan.rows == {"images": 3, "segments": 2, "units": 3}
    retract(lake, plan)
    found = {row["image_id"]: row["drop_id"] for row in lake.read("images").to_pylist()}
    assert found == {"shared": "tuesday", "c": "tuesday"}
    assert _segments(lake) == _stored(lake) == ["c-model", "shared-model"]
    assert lake.has_unit("units", "elsewhere")
    assert _ingest(lake, image, "i1", "monday", ["a", "b", "shared"])
    assert lake.read("images").num_rows == 4


def test_of_a_unit_that_cut_other_images_too_their_rows_stay(
    lake: Lake, image: Row, cut: Callable[..., bool]
):
    _ingest(lake, image, "i1", "monday", ["a", "shared"])
    _ingest(lake, image, "i2", "tuesday", ["shared"])
    cut(lake, "s1", ["a", "shared"], "model")
    plan = plan_retraction(lake, "drop", "monday")
    assert plan.rows == {"images": 2, "segments": 1, "units": 2}
    retract(lake, plan)
    assert _segments(lake) == _stored(lake) == ["shared-model"]
    (unit,) = [row for row in lake.read("units").to_pylist() if row["stage"] == "segment"]
    assert (unit["image_ids"], unit["inputs"], unit["outputs"]) == (["shared"], 1, 1)
    assert (unit["device_seconds"], unit["device"]) == (1.5, "cpu")
    assert is_committed(lake.unit_version(unit["unit_id"]))
    assert not is_committed(lake.unit_version("s1"))


def test_of_a_run_goes_what_it_wrote_and_what_others_made_of_its_images(
    lake: Lake, image: Row, cut: Callable[..., bool]
):
    _ingest(lake, image, "i1", "monday", ["a"])
    _ingest(lake, image, "i2", "tuesday", ["b"])
    cut(lake, "s1", ["a"], "model", run="second")
    cut(lake, "s2", ["b"], "model", run="second")
    retract(lake, plan_retraction(lake, "run", "run of monday"))
    assert _segments(lake) == ["b-model"]
    retract(lake, plan_retraction(lake, "run", "second"))
    assert _segments(lake) == _stored(lake) == []
    assert lake.read("images")["image_id"].to_pylist() == ["b"]


def test_an_image_that_two_drops_bring_is_shown_once(lake: Lake, image: Row):
    _ingest(lake, image, "i1", "monday", ["shared"])
    _ingest(lake, image, "i2", "tuesday", ["shared"])
    assert Counter(lake.read("images")["drop_id"].to_pylist()) == {"monday": 1}
