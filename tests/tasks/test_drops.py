"""What a look into the inbox takes for complete."""

import os
import subprocess
import time
from pathlib import Path

from storage.settings import Settings
from tasks.drop_units import Limits
from tasks.drops import survey_inbox
from tests.drops import RED, write_box_drop

PICTURES = [[((4, 4, 10, 8), RED)], [((5, 4, 10, 8), RED)]]
A_DAY = 24 * 3600


def seen(root, quiet_seconds=60):
    """By place, the numbers of files of complete drops; and the drops being written."""
    found = survey_inbox(str(root), "boxes", quiet_seconds, Limits.of(Settings()))
    complete = {drop.place.prefix: len(drop.files) for drop in found.complete}
    return complete, [place.prefix for place in found.uploading]


def with_times(folder: Path, moment: float):
    for path in folder.rglob("*.*"):
        os.utime(path, (moment, moment))


def test_a_drop_that_is_copied_with_its_times_is_not_taken_in_half(tmp_path):
    source, inbox = tmp_path / "source", tmp_path / "root" / "inbox"
    write_box_drop(source, PICTURES, done=False)
    with_times(source, time.time() - A_DAY)
    (inbox / "monday").mkdir(parents=True)
    subprocess.run(["cp", "-a", source / "annotations.json", inbox / "monday"], check=True)
    assert seen(tmp_path / "root") == ({}, ["inbox/monday/"])
    subprocess.run(["cp", "-a", source / "images", inbox / "monday"], check=True)
    assert seen(tmp_path / "root") == ({}, ["inbox/monday/"])
    assert seen(tmp_path / "root", quiet_seconds=0) == ({"inbox/monday/": 3}, [])


def test_a_drop_is_complete_when_it_has_not_changed_for_so_long(tmp_path):
    write_box_drop(tmp_path / "inbox" / "monday", PICTURES, done=False)
    assert seen(tmp_path, quiet_seconds=60) == ({}, ["inbox/monday/"])
    time.sleep(0.3)
    assert seen(tmp_path, quiet_seconds=0.2) == ({"inbox/monday/": 3}, [])


def test_a_file_with_a_date_in_the_future_does_not_hold_its_drop_back(tmp_path):
    write_box_drop(tmp_path / "inbox" / "monday", PICTURES, done=False)
    with_times(tmp_path / "inbox" / "monday", time.time() + 365 * A_DAY)
    assert seen(tmp_path, quiet_seconds=0) == ({"inbox/monday/": 3}, [])


def test_a_folder_that_is_moved_into_the_inbox_as_a_whole_may_be_complete_at_once(tmp_path):
    write_box_drop(tmp_path / "monday", PICTURES, done=False)
    time.sleep(0.3)
    (tmp_path / "inbox").mkdir()
    (tmp_path / "monday").rename(tmp_path / "inbox" / "monday")
    assert seen(tmp_path, quiet_seconds=0.2) == ({"inbox/monday/": 3}, [])
