"""Files of any size in a drop: none is held in memory as a whole unless it may be taken in."""

import io
import os
import tarfile
import tracemalloc
from contextlib import contextmanager

import pytest

from flows.ingest import run_ingest
from flows.requests import IngestRequest
from flows.running import InProcess
from storage.objects import LocalStore
from tests.drops import BLUE, RED, write_box_drop

PICTURES = [[((4, 4, 10, 8), RED)], [((30, 20, 12, 10), BLUE)]]
LARGE_BYTES = 300 * 2**20
LITTLE_BYTES = 60 * 2**20


def write_large(path, start=b""):
    """A file with a hole in it, which takes no room on the disk."""
    path.write_bytes(start)
    os.truncate(path, LARGE_BYTES)


def ingest(mill):
    return run_ingest(IngestRequest(dataset="boxes"), mill.settings, InProcess())


@contextmanager
def little_memory():
    """Fails if what Python allocates inside is ever as large as a large file."""
    tracemalloc.start()
    try:
        yield
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < LITTLE_BYTES


@pytest.fixture
def small_documents(mill, monkeypatch):
    monkeypatch.setenv("SEGMILL_MAX_JSON_BYTES", "100000")
    mill.settings.max_json_bytes = 100_000


def test_a_film_in_a_drop_is_left_out_and_fills_no_memory(mill):
    write_box_drop(mill.inbox / "monday", PICTURES)
    write_large(mill.inbox / "monday/holiday.mp4")
    with little_memory():
        (drop,) = ingest(mill).drops
    assert (drop.images, drop.annotations, drop.quarantined) == (2, 2, 0)
    assert ["drop.file_unused" in note for note in drop.notes] == [True]
    assert ingest(mill).drops == []


def test_it_would_fill_it_if_it_were_read_whole(mill, monkeypatch):
    monkeypatch.setattr(LocalStore, "read_chunks", lambda self, key: iter([self.read(key)]))
    write_box_drop(mill.inbox / "monday", PICTURES)
    write_large(mill.inbox / "monday/holiday.mp4")
    with pytest.raises(AssertionError), little_memory():
        ingest(mill)


@pytest.mark.parametrize("start", [b"{", b"["])
def test_a_document_beyond_the_limit_is_refused_without_being_read(mill, small_documents, start):
    write_box_drop(mill.inbox / "monday", PICTURES)
    write_large(mill.inbox / "monday/annotations.json", start)
    with little_memory():
        (drop,) = ingest(mill).drops
    assert (drop.rejected, drop.images) == (True, 0)
    told = mill.ask("SELECT file, rule, value FROM quarantine")
    assert told == [("annotations.json", "json.too_large", f"{LARGE_BYTES} of 100000 bytes")]


@pytest.mark.parametrize(("start", "rejected"), [(b"{", False), (b" [", True)])
def test_a_large_file_beside_the_document_counts_only_if_it_is_a_list_of_results(
    mill, small_documents, start, rejected
):
    write_box_drop(mill.inbox / "monday", PICTURES)
    write_large(mill.inbox / "monday/my_results.json", start)
    with little_memory():
        (drop,) = ingest(mill).drops
    assert (drop.rejected, drop.images) == (rejected, 0 if rejected else 2)


def test_a_large_archive_is_known_by_its_first_bytes(mill):
    """A tar file has its mark behind its first name."""
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("a.png"), io.BytesIO(b""))
    write_box_drop(mill.inbox / "monday", PICTURES)
    write_large(mill.inbox / "monday/more.bin", written.getvalue()[:512])
    with little_memory():
        (drop,) = ingest(mill).drops
    assert drop.rejected
    assert mill.ask("SELECT file, rule FROM quarantine") == [("more.bin", "drop.archive")]
