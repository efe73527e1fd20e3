"""Seven nights with a new drop each, killed at random: the same rows as undisturbed ones."""

import random
import signal

import pytest

from storage.lake import Lake
from tests.drops import BLUE, GREEN, RED, write_box_drop
from tests.faults.sweeping import finish, night_processes, rows_of, start, stop_server

NIGHTS = 7
pytestmark = [pytest.mark.slow, pytest.mark.sweep, pytest.mark.timeout(1500)]


@pytest.fixture
def processes():
    stop_server()
    yield night_processes()
    stop_server()


@pytest.fixture
def drops(tmp_path):
    """One drop a night, each with pictures of its own."""
    model = tmp_path / "model.safetensors"
    model.write_bytes(b"model")
    chosen, made = random.Random(3), []
    for number in range(NIGHTS):
        folder = tmp_path / f"drop-{number}"
        pictures = [
            [((4 + 2 * number, 4 + chosen.randrange(9), 10, 8), chosen.choice([RED, GREEN, BLUE]))]
            for _ in range(4)
        ]
        write_box_drop(folder, pictures)
        made.append((str(folder), f"file:{model}"))
    return made


def soak(processes, root, drops, broken=False):
    """Nights that are killed up to three times each before they are let through."""
    chosen, killed = random.Random(11), 0
    for drop in drops:
        for _ in range(chosen.randint(1, 3)):
            night = start(processes, root, drop, broken)
            night.join(chosen.uniform(0.1, 1.5))
            night.kill()
            night.join()
            killed += night.exitcode == -signal.SIGKILL
        finish(start(processes, root, drop, broken))
    return killed


def test_after_seven_nights_nothing_is_lost_or_doubled(processes, tmp_path, drops):
    for drop in drops:
        finish(start(processes, str(tmp_path / "undisturbed"), drop))
    root = str(tmp_path / "killed")
    assert soak(processes, root, drops) >= NIGHTS
    assert rows_of(root) == rows_of(str(tmp_path / "undisturbed"))
    # What the dead left in the tables' folders is a fraction of what counts, and is known.
    lake = Lake.open(root)
    units = lake.read("units").to_pylist()
    assert len({unit["unit_id"] for unit in units}) == len(units)
    assert sum(unit["stage"] == "ingest" for unit in units) == NIGHTS


def test_the_soak_catches_a_lake_that_forgets_what_it_committed(processes, tmp_path, drops):
    for drop in drops:
        finish(start(processes, str(tmp_path / "undisturbed"), drop))
    root = str(tmp_path / "killed")
    soak(processes, root, drops, broken=True)
    assert rows_of(root) != rows_of(str(tmp_path / "undisturbed"))
