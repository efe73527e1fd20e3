"""Names that no store takes, in the inbox: they are refused by name, and cost no other drop."""

import json
import os

import boto3
import pytest
from prefect.events import Event, Resource

from flows.ingest import run_ingest
from flows.requests import IngestRequest, WatchRequest
from flows.running import InProcess
from flows.watch import run_watch
from storage.lake import Lake
from storage.session import connect
from tasks.drop_units import Limits
from tasks.drops import find_drops, survey_inbox
from tasks.ingest_drops import group_drops
from tasks.seal_drops import seal_drops
from tests.drops import BLUE, RED, write_box_drop
from tests.s3_server import s3_process

GOOD, BAD = [[((4, 4, 10, 8), RED)]], [[((30, 20, 12, 10), BLUE)]]
LATIN = os.fsdecode(b"caf\xe9")
SHOWN = r"caf\udce9"


@pytest.fixture(autouse=True)
def names_are_bytes(tmp_path):
    try:
        (tmp_path / LATIN).touch()
    except OSError:
        pytest.skip("the file system takes no names that are not UTF-8")


def write_drop(folder, pictures, done=True):
    # OpenCV crashes on such a name.
    plain = folder.parent / "plain"
    write_box_drop(plain, pictures, done=done)
    plain.rename(folder)


def write_drops(inbox, name, done):
    """A good drop, and one of the name whose picture is another one."""
    write_drop(inbox / "good", GOOD)
    write_drop(inbox / name, BAD, done)


def find_and_seal(mill):
    return seal_drops.fn(
        mill.settings.root, find_drops.fn(mill.settings.root, "boxes", 60, Limits.of(mill.settings))
    )


def ingest(mill, source=None):
    request = IngestRequest(dataset="boxes", source=source)
    return run_ingest(request, mill.settings, InProcess())


def watch(mill):
    said = []
    run_watch(
        WatchRequest(dataset="boxes"),
        mill.settings,
        InProcess(),
        say_sealed=said.extend,
        log=said.append,
    )
    return said


def taken(summary):
    """The names of the drops, each with whether it was refused; and that all of it is JSON."""
    assert json.loads(summary.model_dump_json())["failed"] == []
    return {drop.source.split("/inbox/")[1]: drop.rejected for drop in summary.drops}


def test_a_file_whose_name_is_not_unicode_is_refused_by_name_with_its_drop_alone(mill):
    write_drops(mill.inbox, "zip", done=True)
    (mill.inbox / "zip/images/p1.png").rename(mill.inbox / f"zip/images/{LATIN}.png")
    assert taken(ingest(mill)) == {"good/": False, "zip/": True}
    refused = mill.ask("SELECT file, rule, value FROM quarantine")
    told = (f"images/{SHOWN}.png", "drop.unsafe_name", "it is not valid Unicode")
    assert refused == [told]
    assert mill.ask("SELECT count(*) FROM images") == [(1,)]
    assert ingest(mill).drops == []
    # The name is mended, and the drop is new.
    (mill.inbox / f"zip/images/{LATIN}.png").rename(mill.inbox / "zip/images/p1.png")
    assert taken(ingest(mill)) == {"zip/": False}


@pytest.mark.parametrize(
    ("name", "shown"),
    [pytest.param(LATIN, SHOWN, id="Latin-1"), pytest.param("a\\b", "a\\b", id="backslash")],
)
@pytest.mark.parametrize("done", [True, False], ids=["marked and new", "old"])
def test_a_folder_whose_name_is_unsafe_is_refused_by_name_alone(mill, name, shown, done):
    write_drops(mill.inbox, name, done)
    if not done:
        mill.settings.drop_quiet_seconds = 0
    expected = [f"inbox/{name}/" for name in sorted(("good", shown))]
    names = watch(mill)
    assert sorted(names) == expected
    event = Event(
        event="drop.sealed",
        resource=Resource({"prefect.resource.id": "dataset.boxes"}),
        payload={"names": names},
    )
    assert json.loads(event.model_dump_json())["payload"]["names"] == names
    quiet_seconds = mill.settings.drop_quiet_seconds
    limits = Limits.of(mill.settings)
    waiting = survey_inbox(mill.settings.root, "boxes", quiet_seconds, limits).complete
    assert [drop.place.name for drop in waiting] == names
    assert taken(ingest(mill)) == {"good/": False, f"{shown}/": True}
    assert mill.ask("SELECT DISTINCT rule FROM quarantine") == [("drop.unsafe_name",)]
    assert mill.ask("SELECT count(*) FROM images") == [(1,)]
    assert ingest(mill).drops == []
    assert watch(mill) == []


def test_what_a_task_is_called_on_the_server_can_be_sent(mill):
    write_drops(mill.inbox, LATIN, done=True)
    (mill.inbox / "good").rename(mill.inbox / "later")
    sealed = find_and_seal(mill)
    assert [group.name for group in group_drops(sealed.drops)] == [f"inbox/{SHOWN}/ and 1 more"]


def test_a_drop_in_a_folder_outside_the_inbox_may_have_any_name(mill, tmp_path):
    folder = tmp_path / f"{LATIN}-photos"
    write_drop(folder, GOOD)
    summary = ingest(mill, str(folder))
    (drop,) = summary.drops
    assert (drop.images, drop.annotations, drop.rejected) == (1, 1, False)
    assert drop.source.endswith(f"{SHOWN}-photos")
    assert json.loads(summary.model_dump_json())
    assert mill.ask("SELECT prefix FROM drops") == [(drop.source,)]


@pytest.fixture(scope="module")
def s3():
    with s3_process() as endpoint:
        yield endpoint


def test_an_object_in_a_folder_without_a_name_is_refused_by_name_alone(
    mill, s3, monkeypatch, tmp_path
):
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    client = boto3.client("s3")
    client.create_bucket(Bucket="names")
    write_box_drop(tmp_path / "drop", GOOD)
    for path in (tmp_path / "drop").rglob("*"):
        if path.is_file():
            key = f"data/inbox/good/{path.relative_to(tmp_path / 'drop').as_posix()}"
            client.put_object(Bucket="names", Key=key, Body=path.read_bytes())
    for name in ("/x.png", "/_DONE", "../x.png", "../_DONE"):
        client.put_object(Bucket="names", Key=f"data/inbox/{name}", Body=b"x")
    mill.settings.root = "s3://names/data"
    assert taken(ingest(mill)) == {"good/": False, "/": True, "../": True}
    with connect(Lake.open(mill.settings.root)) as session:
        rows = session.execute("SELECT file, rule FROM quarantine").fetchall()
    assert rows == [("x.png", "drop.unsafe_name")]
    assert ingest(mill).drops == []
