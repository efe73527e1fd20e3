"""The reports of DuckDB's bindings, as a run under Prefect really writes them."""

import subprocess
import sys

import pytest

from app.stack.exit_reports import without_exit_report
from tests.prefect_server import ROOT, prefect_server

# A task that the module of a flow has imported is enough.
RUN = """
from prefect import flow
from tasks.drops import find_drops

def nothing():
    print("at work")

if __name__ == "__main__":
    flow(nothing)()
"""


@pytest.mark.slow
def test_nothing_is_left_of_the_report_of_a_run(tmp_path):
    (tmp_path / "run.py").write_text(RUN)
    with prefect_server(tmp_path) as environment:
        found = subprocess.run(
            [sys.executable, str(tmp_path / "run.py")],
            cwd=ROOT,
            env=environment | {"PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=True,
        )
    lines = (found.stdout + found.stderr).splitlines()
    assert any("nanobind: leaked" in line for line in lines), "the filter has become needless"
    left = [line for line in map(without_exit_report, lines) if line]
    assert "at work" in left
    assert not [line for line in left if "leaked" in line or "nanobind" in line]


def test_what_a_process_writes_after_the_report_is_kept():
    line = "See https://nanobind.readthedocs.io/en/latest/refleaks.html17:40:17 | INFO | next"
    assert without_exit_report(line) == "17:40:17 | INFO | next"


def test_other_lines_are_as_they_were():
    for line in (
        "leaked 3 drops",
        " - leaked secrets",
        "See https://prefect.io",
        "nanobind: hello",
    ):
        assert without_exit_report(line) == line
