"""Workers whose clocks are a day off, either way, do the same work once."""

import pytest

from storage.lake import Lake
from storage.maintenance import maintain_table
from tests.faults.sweeping import finish, processes_with_file_faults, rows_of, start, write_drop

DAY_S = 86_400
pytestmark = [pytest.mark.slow, pytest.mark.sweep, pytest.mark.timeout(600)]


@pytest.fixture
def processes(tmp_path, monkeypatch):
    with processes_with_file_faults(tmp_path, monkeypatch) as found:
        yield found


def units_of(root):
    return sorted(row["unit_id"] for row in Lake.open(root).read("units").to_pylist())


@pytest.mark.parametrize("clocks", [(DAY_S, -DAY_S), (-DAY_S, DAY_S)])
def test_a_clock_that_is_a_day_off_changes_neither_ids_nor_rows(processes, tmp_path, clocks):
    drop = write_drop(tmp_path)
    right, wrong = str(tmp_path / "right"), str(tmp_path / "wrong")
    finish(start(processes, right, drop))
    for clock in clocks:
        finish(start(processes, wrong, drop, clock=clock))
    assert rows_of(wrong) == rows_of(right)
    assert units_of(wrong) == units_of(right)


def test_maintenance_by_a_clock_that_is_a_day_ahead_deletes_nothing_that_counts(
    processes, tmp_path
):
    """A night compacts at its end; here by a clock to which all files are a day old."""
    drop, root = write_drop(tmp_path), str(tmp_path / "root")
    finish(start(processes, root, drop))
    before = rows_of(root)
    finish(start(processes, root, drop, clock=DAY_S))
    assert rows_of(root) == before


def test_a_clock_that_is_beyond_the_retention_costs_old_versions_only(processes, tmp_path):
    """That no live file is deleted holds whatever the clock says."""
    drop, root = write_drop(tmp_path), str(tmp_path / "root")
    finish(start(processes, root, drop))
    before = rows_of(root)
    finish(start(processes, root, drop, clock=30 * DAY_S))
    assert rows_of(root) == before
    assert maintain_table(Lake.open(root), "segments").postponed is False
