"""Five nights on a real server: what it remembers stays as much, or grows where nothing forgets."""

import pytest
from prefect.events.worker import EventsWorker
from prefect.settings import PREFECT_API_URL, temporary_settings

from tests.prefect_history import RUNS_SETTINGS, SERVER, a_day_passes, night, settled_counts
from tests.prefect_server import restartable_server

pytestmark = [pytest.mark.slow, pytest.mark.sweep, pytest.mark.timeout(900)]

NIGHTS = 5
# Those that runs fill, and the server does not empty by itself.
OF_RUNS = ("flow_run", "flow_run_state", "task_run", "log", "artifact")
EVENTS = ("events", "event_resources")


@pytest.fixture
def server(tmp_path, monkeypatch):
    monkeypatch.setenv("SEGMILL_ROOT", str(tmp_path / "root"))
    for name, value in RUNS_SETTINGS.items():
        monkeypatch.setenv(name, value)
    with (
        restartable_server(tmp_path, **SERVER) as server,
        temporary_settings({PREFECT_API_URL: server.environment["PREFECT_API_URL"]}),
    ):
        yield server
        EventsWorker.drain_all(timeout=10)


def counts_after_each_night(server, root, forget):
    counts = []
    for number in range(NIGHTS):
        night(root, number, forget=forget)
        counts.append(settled_counts(server.database))
        a_day_passes(server.database)
    return counts


def test_the_history_stays_as_large_as_the_days_that_are_kept(server, tmp_path):
    counts = counts_after_each_night(server, tmp_path / "root", forget=True)
    # Tonight's, once those of the night before are more than a day old and forgotten.
    for table in ("flow_run", "task_run", "artifact"):
        assert len({count[table] for count in counts}) == 1, (table, counts)
    for table in (*OF_RUNS, *EVENTS):
        assert counts[-1][table] <= 1.2 * counts[1][table], (table, counts)


def test_it_is_caught_where_nothing_is_forgotten(server, tmp_path):
    counts = counts_after_each_night(server, tmp_path / "root", forget=False)
    for table in OF_RUNS:
        assert counts[-1][table] > 1.2 * counts[1][table], (table, counts)
