"""Nights in processes of their own, and what there is to see of them afterwards."""

import multiprocessing
import multiprocessing.forkserver
import os
import shutil
import subprocess
from contextlib import contextmanager
from pathlib import Path

import pytest

from storage.lake import Lake
from storage.session import connect
from tests.drops import BLUE, GREEN, RED, write_box_drop
from tests.faults.night_process import night

STEP = int(os.environ.get("SEGMILL_SWEEP_STEP", "120"))
PICTURES = [
    [((4, 4, 10, 8), RED), ((30, 20, 12, 10), BLUE)],
    [],
    [((10, 10, 6, 6), GREEN)],
]
# Ids and values only: times and runs differ from night to night.
ROWS = {
    "images": "SELECT image_id, dataset, file_name, split FROM images",
    "annotations": "SELECT image_id, annotation_id, rle FROM annotations",
    "segments": "SELECT image_id, segment_id, label, rle FROM segments",
    "image_labels": "SELECT image_id, label, count, union_area_px FROM image_labels",
    "label_stats": "SELECT label, count, images, union_area_px, unknown_share FROM label_stats",
    "quarantine": "SELECT file, rule FROM quarantine",
    "drops": "SELECT drop_id FROM drops",
}


def write_drop(folder):
    """Write a small drop and a file that stands for both models; returns what `night` takes."""
    write_box_drop(folder / "drop", PICTURES)
    (folder / "model.safetensors").write_bytes(b"model")
    return str(folder / "drop"), f"file:{folder / 'model.safetensors'}"


def night_processes():
    """Start processes quickly: what a night imports is loaded once, in the server they fork from.

    That server inherits the environment of now, so that one from before is stopped.
    """
    stop_server()
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch", "tests.faults.night_process"])
    return context


def stop_server():
    """Let the next processes be forked from a new server."""
    multiprocessing.forkserver._forkserver._stop()


@contextmanager
def processes_with_file_faults(folder, monkeypatch):
    """Processes for which the functions of file_calls.c are there."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler (cc) to build the library that sees file calls")
    library = folder / "file_calls.so"
    source = Path(__file__).with_name("file_calls.c")
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    stop_server()
    monkeypatch.setenv("LD_PRELOAD", str(library))
    yield night_processes()
    stop_server()


def start(processes, root, drop, broken=False, told=None, **faults):
    """Start a night."""
    process = processes.Process(target=night, args=(root, *drop, broken, told), kwargs=faults)
    process.start()
    return process


def finish(process):
    """Wait for a night that nothing disturbs."""
    process.join(120)
    assert process.exitcode == 0


def rows_of(root):
    """What readers see of each table."""
    with connect(Lake.open(root)) as session:
        return {name: sorted(session.execute(sql).fetchall()) for name, sql in ROWS.items()}
