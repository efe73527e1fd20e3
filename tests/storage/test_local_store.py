import errno
import os
import stat
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.errors import UnsafeKeyError
from storage.objects import LocalStore
from storage.objects.keys import TEMPORARY_PREFIX, checked_key

# Each child of this program dies just before, or just after, the n-th call that changes the disk;
# the program prints the exit status of the children.
CRASHING_WRITERS = """
import os, sys, threading
from storage.objects import LocalStore

folder, operation, moment = sys.argv[1:]
data = {"folder/object": b"new" * 1000, "folder/other": b"new" * 1000}

def die_at(number):
    calls, lock = 0, threading.Lock()
    def dying(function):
        def call(*args, **kwargs):
            nonlocal calls
            with lock:  # files are flushed by several threads
                calls += 1
                mine = calls
            if mine == number and moment == "before":
                os._exit(9)
            result = function(*args, **kwargs)
            if mine == number and moment == "after":
                os._exit(9)
            return result
        return call
    for name in ("open", "write", "fsync", "close", "link", "replace", "unlink", "mkdir"):
        setattr(os, name, dying(getattr(os, name)))

for number in range(1, 60):
    if (child := os.fork()) == 0:
        store = LocalStore(f"{folder}/{number}")
        die_at(number)
        if operation == "write_many":
            store.write_many(data.items())
        else:
            getattr(store, operation)("folder/object", data["folder/object"])
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    print(status)
    if status != 9:
        break
"""


@pytest.mark.parametrize("operation", ["write", "write_many", "create"])
@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_crash_at_any_moment_leaves_the_old_or_the_new_object(
    tmp_path: Path, operation: str, moment: str
):
    old, new = b"old", b"new" * 1000
    stores = [LocalStore(tmp_path / str(number)) for number in range(60)]
    if operation != "create":
        for store in stores:
            store.write("folder/object", old)
    program = [sys.executable, "-c", CRASHING_WRITERS, str(tmp_path), operation, moment]
    done = subprocess.run(program, check=True, capture_output=True, text=True)
    statuses = [int(line) for line in done.stdout.split()]
    assert statuses[-1] == 0
    assert set(statuses[:-1]) == {9}
    assert len(statuses) > 5, "the writer must have been killed at several moments"

    seen = set()
    for store in stores[1 : len(statuses) + 1]:
        found = {info.key: store.read(info.key) for info in store.list()}
        assert set(found) <= {"folder/object", "folder/other"}
        assert set(found.values()) <= {old, new}
        assert operation == "create" or "folder/object" in found
        seen.add(found.get("folder/object"))
        # The same command again is all the recovery there is.
        if operation == "create":
            store.create("folder/object", new)
        else:
            store.write("folder/object", new)
        assert store.read("folder/object") == new
    assert seen == ({None, new} if operation == "create" else {old, new})


def test_a_refusing_disk_keeps_the_old_object_and_names_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    store = LocalStore(tmp_path)
    store.write("a/b", b"old")

    def refuse(descriptor: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", refuse)
        for operation in (store.write, store.create):
            with pytest.raises(OSError, match=r"No space left on device.*a/") as caught:
                operation("a/b" if operation == store.write else "a/c", b"new")
            assert caught.value.errno == errno.ENOSPC
    assert store.read("a/b") == b"old"
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b"]


@pytest.mark.parametrize(("operation", "naming"), [("write", "replace"), ("create", "link")])
def test_content_is_on_the_disk_before_its_name_and_the_name_before_the_return(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, operation: str, naming: str
):
    """Kills do not lose what the kernel holds, a power cut does: so the order is checked."""
    store = LocalStore(tmp_path)
    store.write("a/first", b"x")
    events: list[str] = []

    def recorded(name: str) -> None:
        original = getattr(os, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            result = original(*args, **kwargs)
            if name == "fsync":
                kind = "folder" if stat.S_ISDIR(os.fstat(args[0]).st_mode) else "file"
                events.append(f"fsync {kind}")
            else:
                events.append(name)
            return result

        monkeypatch.setattr(os, name, call)

    for name in ("fsync", naming):
        recorded(name)
    getattr(store, operation)("a/b", b"data")
    assert events == ["fsync file", naming, "fsync folder"]


def test_left_over_temporary_files_are_not_objects(tmp_path: Path):
    store = LocalStore(tmp_path)
    store.write("a/b", b"x")
    (tmp_path / "a" / f"{TEMPORARY_PREFIX}123").write_bytes(b"half")
    assert [info.key for info in store.list()] == ["a/b"]


def test_a_link_to_a_file_outside_is_listed_but_not_read(tmp_path: Path):
    (tmp_path / "secret").write_bytes(b"secret")
    store = LocalStore(tmp_path / "root")
    store.write("inbox/page.png", b"x")
    (tmp_path / "root" / "inbox" / "link.png").symlink_to(tmp_path / "secret")
    assert [info.key for info in store.list()] == ["inbox/link.png", "inbox/page.png"]
    with pytest.raises(UnsafeKeyError, match="symbolic link"):
        store.read("inbox/link.png")


def test_a_link_to_a_folder_is_neither_followed_nor_written_through(tmp_path: Path):
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").write_bytes(b"secret")
    store = LocalStore(tmp_path / "root")
    store.write("a", b"x")
    (tmp_path / "root" / "door").symlink_to(tmp_path / "outside")
    assert [info.key for info in store.list()] == ["a", "door"]
    for call in (store.read, store.exists, store.delete):
        with pytest.raises(UnsafeKeyError, match="symbolic link"):
            call("door/secret")
    with pytest.raises(UnsafeKeyError, match="symbolic link"):
        store.write("door/secret", b"new")
    assert (tmp_path / "outside" / "secret").read_bytes() == b"secret"


@pytest.mark.parametrize("target", ["folder", "..", "nothing", "link", "queue", "../outside"])
def test_a_link_that_leads_to_no_file_is_one_object_that_is_refused(tmp_path: Path, target: str):
    """A folder beside it, one around it, nothing, itself, a named pipe, a folder outside."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").write_bytes(b"secret")
    store = LocalStore(tmp_path / "root")
    store.write("folder/page.png", b"x")
    os.mkfifo(tmp_path / "root" / "queue")
    (tmp_path / "root" / "link").symlink_to(target)
    assert [info.key for info in store.list()] == ["folder/page.png", "link"]
    assert [info.key for info in store.list("link")] == ["link"]
    with pytest.raises(UnsafeKeyError, match="symbolic link"):
        store.read("link")


def test_a_root_that_is_itself_a_link_works(tmp_path: Path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    store = LocalStore(tmp_path / "link")
    store.write("a", b"x")
    assert store.read("a") == b"x"


@given(st.text(max_size=60) | st.text(alphabet="./a\\:\x00", max_size=12))
@settings(max_examples=300)
def test_a_key_that_is_accepted_stays_below_any_root(key: str):
    try:
        checked_key(key)
    except UnsafeKeyError:
        return
    path = os.path.normpath(f"/base/{key}")
    assert path.startswith("/base/")
    assert path == f"/base/{key}"


def test_a_file_that_keeps_the_time_of_another_one_has_changed_now(tmp_path: Path):
    store = LocalStore(tmp_path)
    store.write("copied", b"1")
    os.utime(tmp_path / "copied", (0, 0))
    (info,) = store.list()
    assert info.modified_at == datetime.fromtimestamp(0, UTC)
    assert abs(datetime.now(UTC) - info.changed_at) < timedelta(minutes=1)


def test_what_a_writer_left_is_found_by_its_age(tmp_path: Path):
    store = LocalStore(tmp_path)
    store.write("folder/object", b"done")
    left, young = (tmp_path / "folder" / f"{TEMPORARY_PREFIX}{name}" for name in ("1", "2"))
    for path in (left, young):
        path.write_bytes(b"half")
    os.utime(left, (0, 0))
    assert list(store.unfinished("folder/", 3600)) == [left]
    assert list(store.unfinished("folder/", 0)) == [left, young]
    assert list(store.unfinished("nowhere/", 0)) == []
