"""A disk that is full from some call on: a clear error, nothing half stored, and on with space."""

import errno
import os
import shutil

import pytest

from tests.faults.sweeping import (
    STEP,
    finish,
    processes_with_file_faults,
    rows_of,
    start,
    write_drop,
)

DISK_FULL = 2
pytestmark = [pytest.mark.slow, pytest.mark.sweep, pytest.mark.timeout(1500)]


@pytest.fixture
def processes(tmp_path, monkeypatch):
    with processes_with_file_faults(tmp_path, monkeypatch) as found:
        yield found


def violations(processes, folder, drop, capfd, step, broken=False):
    """Nights on a disk that is full from every so many calls on; the points that went wrong."""
    log = folder / "calls.log"
    root = folder / "undisturbed"
    finish(start(processes, str(root), drop, broken, watch=(str(root), -1, 0, str(log))))
    expected, calls = rows_of(str(root)), log.read_text().splitlines()
    wrong, failed = [], 0
    for at in range(0, len(calls), step):
        root = folder / f"full-{at}"
        capfd.readouterr()
        night = start(processes, str(root), drop, broken, watch=(str(root), at, DISK_FULL, None))
        night.join(120)
        told = capfd.readouterr().err
        failed += night.exitcode == 1
        # A log that got no checkpoint is no failure; else the error says what was the matter.
        clear = night.exitcode == 0 or os.strerror(errno.ENOSPC) in told
        finish(start(processes, str(root), drop, broken))
        if not clear or rows_of(str(root)) != expected:
            wrong.append((at, calls[at], told[-2000:]))
        shutil.rmtree(root)
    assert failed
    return wrong


def test_a_full_disk_is_told_and_loses_nothing(processes, tmp_path, capfd):
    assert violations(processes, tmp_path, write_drop(tmp_path), capfd, STEP) == []


def test_the_sweep_catches_a_lake_that_forgets_what_it_committed(processes, tmp_path, capfd):
    assert violations(processes, tmp_path, write_drop(tmp_path), capfd, STEP, broken=True)
