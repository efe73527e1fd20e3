import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from storage.errors import ObjectNotFoundError, UnsafeKeyError, UnsupportedRootError
from storage.objects import ObjectStore, open_store


def test_an_object_reads_back_as_it_was_written(store: ObjectStore):
    store.write("images/ab/page 1+é%20.png", b"\x00\xff" * 1000)
    assert store.read("images/ab/page 1+é%20.png") == b"\x00\xff" * 1000
    assert store.exists("images/ab/page 1+é%20.png")


def test_writing_again_replaces_the_object_and_changes_its_version(store: ObjectStore):
    store.write("a", b"one")
    first = next(store.list()).version
    store.write("a", b"two")
    assert store.read("a") == b"two"
    assert next(store.list()).version != first


def test_an_empty_object_is_an_object(store: ObjectStore):
    store.write("inbox/drop/_DONE", b"")
    assert store.exists("inbox/drop/_DONE")
    assert store.read("inbox/drop/_DONE") == b""


def test_a_missing_object_is_named_in_the_error(store: ObjectStore):
    store.write("folder/there", b"x")
    for key in ("absent", "folder", "folder/there/below"):
        assert not store.exists(key)
        with pytest.raises(ObjectNotFoundError, match=key):
            store.read(key)


def test_create_keeps_the_first_object(store: ObjectStore):
    assert store.create("models/m/manifest.json", b"first")
    assert not store.create("models/m/manifest.json", b"second")
    assert store.read("models/m/manifest.json") == b"first"


def test_of_many_creators_at_once_exactly_one_wins(store: ObjectStore):
    store.create("warm", b"")
    gate = threading.Barrier(8)
    wins: list[int] = []

    def create(number: int) -> None:
        gate.wait()
        if store.create("seal", str(number).encode() * 1000):
            wins.append(number)

    threads = [threading.Thread(target=create, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(wins) == 1
    assert store.read("seal") == str(wins[0]).encode() * 1000


def test_a_listing_is_sorted_by_key_bytes_and_complete(store: ObjectStore):
    keys = ["a/b", "a-b", "a/b/c.txt", "a0", "a/é", "a/z", "b/1", "B"]
    keys.remove("a/b")  # a folder cannot have the name of a file
    store.write_many((key, key.encode()) for key in keys)
    assert [info.key for info in store.list()] == sorted(keys, key=str.encode)
    assert [info.size_bytes for info in store.list("a/")] == [9, 3, 4]
    assert [info.key for info in store.list("a")] == ["a-b", "a/b/c.txt", "a/z", "a/é", "a0"]
    assert [info.key for info in store.list("a/b/c")] == ["a/b/c.txt"]
    assert list(store.list("nothing/here")) == []


def test_a_listing_tells_when_an_object_was_written(store: ObjectStore):
    store.write("a", b"1")
    info = next(store.list())
    for moment in (info.modified_at, info.changed_at):
        age = datetime.now(UTC) - moment
        assert timedelta(seconds=-2) < age < timedelta(minutes=1)


def test_deleting_removes_an_object_and_forgives_a_missing_one(store: ObjectStore):
    store.write("a/b", b"1")
    store.delete("a/b")
    store.delete("a/b")
    store.delete("never/was")
    assert not store.exists("a/b")


def test_more_objects_than_one_page_or_group_holds_are_written_and_listed(store: ObjectStore):
    count = 1100
    assert store.write_many((f"masks/{n:05d}.png", b"x") for n in range(count)) == count
    assert [info.key for info in store.list("masks/")] == [
        f"masks/{n:05d}.png" for n in range(count)
    ]


UNSAFE = [
    "",
    "/etc/passwd",
    "../outside",
    "a/../../outside",
    "a/./b",
    "a//b",
    "a/",
    "a\\..\\b",
    "C:\\windows",
    "C:/windows",
    "a\x00b",
    "a\nb",
    "a\x7f",
    "\ud800",
    "é" * 513,
    "a/.segmill-tmp-1",
]


@pytest.mark.parametrize("key", UNSAFE)
def test_an_unsafe_key_is_refused_by_every_method(store: ObjectStore, key: str):
    for call in (store.read, store.exists, store.delete, store.uri, store.local_path):
        with pytest.raises(UnsafeKeyError):
            call(key)
    for write in (store.write, store.create):
        with pytest.raises(UnsafeKeyError):
            write(key, b"x")
    assert list(store.list()) == []


@pytest.mark.parametrize("prefix", ["/", "../", "..", "a/../..", "a//"])
def test_a_listing_cannot_leave_the_root(store: ObjectStore, prefix: str):
    with pytest.raises(UnsafeKeyError):
        list(store.list(prefix))


def test_the_uri_leads_other_programs_to_the_object(tmp_path: Path, bucket: str):
    local = open_store(str(tmp_path))
    local.write("a b/c", b"x")
    assert Path(local.uri("a b/c")).read_bytes() == b"x"
    assert local.local_path("a b/c") == Path(local.uri("a b/c"))
    remote = open_store(f"s3://{bucket}/some/prefix/")
    assert remote.uri("a b/c") == f"s3://{bucket}/some/prefix/a b/c"
    assert remote.root == f"s3://{bucket}/some/prefix"
    assert remote.local_path("a b/c") is None


@pytest.mark.parametrize("root", ["gs://bucket/x", "http://host/x", "s3:///prefix"])
def test_a_root_of_another_kind_is_refused(root: str):
    with pytest.raises(UnsupportedRootError, match="s3://bucket/prefix"):
        open_store(root)


def test_a_relative_root_stays_where_it_was_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    store = open_store("root")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    store.write("a", b"x")
    assert (tmp_path / "root" / "a").read_bytes() == b"x"
