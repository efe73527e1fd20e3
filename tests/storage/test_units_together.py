"""Several units of work in one commit: each exactly once, whoever else commits some of them."""

import multiprocessing
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from storage.delta_tables import DeltaTables
from storage.errors import RowsRefusedError, UnitWithdrawnError
from storage.lake import Lake
from storage.log_transactions import transaction_versions
from storage.objects import LocalStore
from storage.rewriting import remove_units
from storage.units import FinishedUnit
from tests.lakes import image_row, refused_row

Row = Callable[..., dict[str, Any]]
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["storage.lake", "conftest"])


def _ids(lake: Lake) -> list[str]:
    return sorted(lake.read("images", committed_only=False)["image_id"].to_pylist())


def test_units_are_committed_together_and_once(lake: Lake):
    rows = {f"unit-{n}": [image_row(f"{n}a"), image_row(f"{n}b")] for n in range(4)}
    assert lake.append_units("images", rows) == set(rows)
    assert lake.version("images") == 1
    assert lake.append_units("images", rows) == set()
    assert lake.version("images") == 1
    assert len(lake.file_uris("images")) == 1
    stored = lake.read("images", committed_only=False)
    assert {(row["unit_id"], row["image_id"]) for row in stored.to_pylist()} == {
        (unit, row["image_id"]) for unit, of_unit in rows.items() for row in of_unit
    }
    assert stored["image_id"].to_pylist() == sorted(stored["image_id"].to_pylist())
    for unit in rows:
        assert lake.has_unit("images", unit)


def test_of_some_units_that_are_there_only_the_others_are_committed(lake: Lake):
    lake.append("images", [image_row("b")], "unit-b")
    rows = {f"unit-{name}": [image_row(name)] for name in "abc"}
    assert lake.append_units("images", rows) == {"unit-a", "unit-c"}
    assert _ids(lake) == ["a", "b", "c"]


def test_nothing_is_committed_of_no_units(lake: Lake):
    assert lake.append_units("images", {}) == set()
    assert lake.version("images") is None


def test_rows_of_one_unit_that_do_not_fit_refuse_all(lake: Lake):
    with pytest.raises(RowsRefusedError):
        lake.append_units("images", {"a": [image_row("a")], "b": [{"colour": "red"}]})
    assert lake.version("images") is None


def test_a_rival_that_commits_one_of_them_in_between_is_found(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
):
    """The rival commits after this one looked, and before it writes."""
    lake.append("images", [], "made")
    stale, rival = lake.table("images"), Lake(lake.root)
    opened = [stale]
    mine, original = lake._tables, DeltaTables.open

    def open_once_stale(self: DeltaTables, table: str, version: int | None = None) -> Any:
        if self is mine and opened:
            assert rival.append("images", [image_row("b", file_name="rival's")], "unit-b")
            return opened.pop()
        return original(self, table, version)

    monkeypatch.setattr(DeltaTables, "open", open_once_stale)
    rows = {f"unit-{name}": [image_row(name)] for name in "abc"}
    assert lake.append_units("images", rows) == {"unit-a", "unit-c"}
    assert not opened
    assert _ids(lake) == ["a", "b", "c"]
    names = lake.read("images", committed_only=False)["file_name"].to_pylist()
    assert "rival's" in names


def test_a_withdrawn_unit_among_them_refuses_all(local_lake: Lake):
    lives = local_lake.lives(["a", "b"])
    assert lives == {"a": 1, "b": 1}
    local_lake.append_units("images", {"b": [image_row("b")]}, {"b": 1})
    remove_units(local_lake, "images", {"b": 2})
    with pytest.raises(UnitWithdrawnError, match="b"):
        local_lake.append_units("images", {"a": [image_row("a")], "b": [image_row("b")]}, lives)
    assert _ids(local_lake) == []
    assert local_lake.append_units(
        "images", {"a": [image_row("a")], "b": [image_row("b")]}, {"a": 1, "b": 3}
    ) == {"a", "b"}


def test_lives_of_units_are_none_where_they_are_finished(lake: Lake):
    done = [
        FinishedUnit(stage="ingest", unit_id=name, subject=name, inputs=1, outputs=0)
        for name in "abc"
    ]
    assert lake.commit_units(done) == {"a", "b", "c"}
    assert lake.lives(["a", "b", "x", "c"]) == {"a": None, "b": None, "x": 1, "c": None}
    assert lake.version("units") == 1


def test_a_unit_of_segments_must_name_its_images(local_lake: Lake):
    with pytest.raises(ValueError, match="must name the images"):
        FinishedUnit(stage="segment", unit_id="a", subject="b", inputs=1, outputs=0)


STEPS = st.lists(
    st.one_of(
        st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=5).map(
            lambda names: ("append", tuple(names))
        ),
        st.sampled_from("abcdefgh").map(lambda name: ("withdraw", (name,))),
        st.just(("checkpoint", ())),
        st.just(("clean", ())),
    ),
    max_size=12,
)


@given(STEPS)
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_versions_of_many_units_are_those_that_delta_tells_one_by_one(tmp_path: Path, steps: Any):
    folder = tmp_path / str(len(list(tmp_path.iterdir())))
    lake = Lake.open(str(folder))
    lake.append("quarantine", [], "made")
    for step, names in steps:
        if step == "append":
            lake.append_units("quarantine", {name: [refused_row("x")] for name in names})
        elif step == "withdraw":
            version = lake.table_to_write("quarantine").transaction_version(names[0])
            remove_units(lake, "quarantine", {names[0]: (version or 1) + 1})
        elif step == "checkpoint":
            lake.table_to_write("quarantine").create_checkpoint()
        else:
            _remove_entries_before_the_checkpoint(folder / "lake/quarantine/_delta_log")
    asked = [*"abcdefgh", "made", "never"]
    stored = lake.table_to_write("quarantine")
    one_by_one = {name: stored.transaction_version(name) for name in asked}
    found = transaction_versions(lake.objects, "quarantine", stored, asked)
    assert found == {name: version for name, version in one_by_one.items() if version is not None}


def _remove_entries_before_the_checkpoint(log: Path) -> None:
    newest = max((path.name[:20] for path in log.glob("*.checkpoint.parquet")), default="")
    for entry in log.glob("*.json"):
        if entry.name[:20] < newest:
            entry.unlink()


def test_what_was_committed_after_the_table_was_opened_does_not_count(lake: Lake):
    lake.append("quarantine", [], "early")
    stored = lake.table_to_write("quarantine")
    lake.append("quarantine", [], "late")
    names = ["early", "late", "never"]
    assert transaction_versions(lake.objects, "quarantine", stored, names) == {"early": 1}
    # A newer checkpoint says more than the opened table knows: then Delta is asked.
    lake.table_to_write("quarantine").create_checkpoint()
    assert transaction_versions(lake.objects, "quarantine", stored, names) == {"early": 1}


@pytest.mark.parametrize("damage", ["not JSON", '{"version": 2, "parts": 2}', "[]"])
def test_a_log_of_another_form_is_left_to_delta(local_lake: Lake, damage: str):
    for name in "abc":
        local_lake.append("quarantine", [], name)
    stored = local_lake.table_to_write("quarantine")
    store = local_lake.objects
    assert isinstance(store, LocalStore)
    store.write("quarantine/_delta_log/_last_checkpoint", damage.encode())
    found = transaction_versions(store, "quarantine", stored, ["a", "b", "c", "d"])
    assert found == {"a": 1, "b": 1, "c": 1}


def _append_all(root: str, barrier: Any, results: Any) -> None:
    lake = Lake.open(root)
    for start in range(0, 12, 3):
        barrier.wait(60)
        rows = {f"unit-{n}": [image_row(f"image-{n}")] for n in range(start, start + 6)}
        results.put(sorted(lake.append_units("images", rows)))


def test_rivals_with_some_units_in_common_commit_each_once(tmp_path: Path):
    barrier, results = PROCESSES.Barrier(2), PROCESSES.Queue()
    rivals = [
        PROCESSES.Process(target=_append_all, args=(str(tmp_path), barrier, results))
        for _ in range(2)
    ]
    for rival in rivals:
        rival.start()
    committed = Counter(unit for _ in range(8) for unit in results.get(timeout=120))
    for rival in rivals:
        rival.join(60)
        assert rival.exitcode == 0
    assert committed == {f"unit-{n}": 1 for n in range(15)}
    assert _ids(Lake.open(str(tmp_path))) == sorted(f"image-{n}" for n in range(15))
