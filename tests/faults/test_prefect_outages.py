"""A Prefect server that is away, or whose database is locked: nights are late, and never wrong."""

import sqlite3
import time
from contextlib import closing, contextmanager

import pytest

from app.stack.descendants import descendants
from tests.faults.prefect_nights import PAGES, deployed_nights, write_pages
from tests.faults.sweeping import finish, night_processes, rows_of, start, stop_server

pytestmark = [pytest.mark.slow, pytest.mark.sweep, pytest.mark.timeout(1500)]

LOCKED_SECONDS = 25


@pytest.fixture(scope="module")
def processes():
    stop_server()
    yield night_processes()
    stop_server()


@pytest.fixture
def drop(tmp_path):
    return write_pages(tmp_path)


@pytest.fixture
def expected(processes, tmp_path, drop):
    finish(start(processes, str(tmp_path / "undisturbed"), drop))
    return rows_of(str(tmp_path / "undisturbed"))


@contextmanager
def server_away(nights, seconds):
    """Kill the server; what is inside is done while it is away, for so long at least."""
    nights.server.kill()
    began = time.monotonic()
    yield
    time.sleep(max(0.0, seconds - (time.monotonic() - began)))
    nights.server.start()


@contextmanager
def database_locked(nights, seconds):
    """Let nobody write to the server's database for so long."""
    with closing(sqlite3.connect(nights.server.database, timeout=60)) as connection:
        connection.isolation_level = None
        connection.execute("BEGIN EXCLUSIVE")
        began = time.monotonic()
        yield
        time.sleep(max(0.0, seconds - (time.monotonic() - began)))
        connection.execute("ROLLBACK")


@pytest.mark.parametrize("seconds", [5, 25])
def test_a_night_goes_on_while_the_server_is_away(tmp_path, drop, expected, seconds):
    with deployed_nights(tmp_path, drop) as nights, nights.worker():
        night = nights.order()
        nights.wait_for_images(3)
        with server_away(nights, seconds):
            pass
        nights.finish(night)
        nights.finish(nights.order())
        assert rows_of(nights.root) == expected
        # The second night had nothing to do.
        assert len(nights.processes()) == PAGES


def test_a_night_that_cannot_say_that_it_ended_has_done_its_work(tmp_path, drop, expected):
    """The server stays away for longer than Prefect's client tries, which is scaled down here.

    It may then believe for ever that the night runs: its last heartbeat was due while the server
    was away. The night's place among the deployment's runs is free all the same, five minutes
    after the last renewal of its lease.
    """
    with deployed_nights(tmp_path, drop) as nights:
        with nights.worker(PREFECT_CLIENT_MAX_RETRIES="1") as worker:
            night = nights.order()
            nights.wait_for_images(3)
            with server_away(nights, 5):
                nights.wait(lambda: not descendants(worker.pid), 600, "end of the run's process")
                assert rows_of(nights.root) == expected
        assert not nights.state(night).is_completed()
        with nights.worker():
            nights.finish(nights.order())
        assert rows_of(nights.root) == expected
        assert len(nights.processes()) == PAGES


def test_a_night_that_is_due_while_the_server_is_away_is_made_up_for(tmp_path, drop, expected):
    with deployed_nights(tmp_path, drop) as nights, nights.worker():
        night = nights.order(seconds=20)
        with server_away(nights, 25):
            pass
        nights.finish(night)
        assert rows_of(nights.root) == expected


def test_a_night_whose_process_finds_no_server_is_no_hindrance(tmp_path, drop, expected):
    with deployed_nights(tmp_path, drop) as nights, nights.worker():
        night = nights.order()
        nights.wait(
            lambda: "submitted to infrastructure" in nights.worker_log.read_text(), 300, "process"
        )
        with server_away(nights, 25):
            pass
        nights.wait(lambda: nights.state(night).is_final(), 600, "end of the run")
        nights.finish(nights.order())
        assert rows_of(nights.root) == expected


def night_by_hand_while_the_server_is_away(processes, tmp_path, drop, broken):
    """Two nights at once on one root; returns the rows after one more."""
    with deployed_nights(tmp_path, drop) as nights:
        forgetful = {"FAULTS_FORGETFUL": "1"} if broken else {}
        with nights.worker(FAULTS_CUT_SECONDS="8", **forgetful):
            night = nights.order()
            nights.wait_for_images(2)
            with server_away(nights, 5):
                by_hand = start(processes, nights.root, drop, broken)
                by_hand.join(300)
            nights.wait(lambda: nights.state(night).is_final(), 600, "end of the run")
            nights.finish(nights.order())
            assert by_hand.exitcode == 0
        return rows_of(nights.root)


def test_a_night_by_hand_meanwhile_stores_nothing_twice(processes, tmp_path, drop, expected):
    assert night_by_hand_while_the_server_is_away(processes, tmp_path, drop, False) == expected


def test_it_is_caught_where_the_lake_forgets_what_it_committed(processes, tmp_path, drop, expected):
    assert night_by_hand_while_the_server_is_away(processes, tmp_path, drop, True) != expected


def night_that_renews_its_lease(tmp_path, drop, **options):
    """A night during which the server is restarted; returns the state in which it ended."""
    with deployed_nights(tmp_path, drop, **options) as nights:
        # Every nine seconds, not every 225.
        with nights.worker(FAULTS_RENEWAL="0.03", FAULTS_CUT_SECONDS="6"):
            night = nights.order()
            nights.wait_for_images(2)
            with server_away(nights, 0):
                pass
            nights.wait(lambda: nights.state(night).is_final(), 600, "end of the run")
        return nights.state(night)


def test_a_restart_of_the_server_does_not_end_long_nights(tmp_path, drop, expected):
    assert night_that_renews_its_lease(tmp_path, drop).is_completed()
    assert rows_of(str(tmp_path / "root")) == expected


def test_it_is_caught_where_the_server_keeps_its_leases_in_memory(tmp_path, drop):
    assert not night_that_renews_its_lease(tmp_path, drop, settings={}).is_completed()


def test_a_night_that_begins_while_the_database_is_locked_is_late(tmp_path, drop, expected):
    with deployed_nights(tmp_path, drop) as nights, nights.worker():
        night = nights.order()
        with database_locked(nights, LOCKED_SECONDS):
            pass
        assert nights.processes() == []
        nights.finish(night)
        assert rows_of(nights.root) == expected


def test_a_night_whose_end_meets_a_locked_database_is_late(tmp_path, drop, expected):
    with deployed_nights(tmp_path, drop) as nights, nights.worker():
        night = nights.order()
        nights.wait_for_images(3)
        with database_locked(nights, LOCKED_SECONDS):
            # Batches go on; what comes after them waits until the run's page can be written.
            nights.wait_for_images(PAGES)
        assert nights.state(night).is_running()
        nights.finish(night)
        nights.finish(nights.order())
        assert rows_of(nights.root) == expected
        assert len(nights.processes()) == PAGES
