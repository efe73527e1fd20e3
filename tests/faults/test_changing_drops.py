"""Drops that change while they are taken in, or are not all there yet: all of one, or nothing."""

import hashlib
import json

import boto3
import pytest

from flows.ingest import run_ingest
from flows.requests import IngestRequest
from flows.running import InProcess
from flows.summaries import DropsFailedError
from storage.lake import Lake
from storage.objects import open_store
from storage.session import connect
from storage.settings import Settings
from tasks.ingest_drops import ingest_drops
from tasks.seal_drops import seal_again
from tests.drops import BLUE, GREEN, RED, box_picture, write_box_drop, write_picture
from tests.s3_server import s3_process

PICTURES = [[((4, 4, 10, 8), RED)], [((30, 20, 12, 10), BLUE)]]


@pytest.fixture(scope="module")
def s3():
    with s3_process() as endpoint:
        yield endpoint


class Inbox:
    """The inbox of a root on S3, and the drop `monday` in it."""

    def __init__(self, endpoint, name, folder):
        self.client = boto3.client("s3", endpoint_url=endpoint)
        self.bucket = name
        self.client.create_bucket(Bucket=name)
        self.root = f"s3://{name}/data"
        self.folder = folder
        write_box_drop(folder, PICTURES)

    def key(self, name):
        return f"data/inbox/monday/{name}"

    def put(self, *names):
        for name in names:
            body = (self.folder / name).read_bytes()
            self.client.put_object(Bucket=self.bucket, Key=self.key(name), Body=body)

    def put_all(self):
        found = sorted(path for path in self.folder.rglob("*") if path.is_file())
        self.put(*(path.relative_to(self.folder).as_posix() for path in found))

    def delete(self, name):
        self.client.delete_object(Bucket=self.bucket, Key=self.key(name))

    def ingest(self, run=None, quiet_seconds=3600):
        settings = Settings(root=self.root, drop_quiet_seconds=quiet_seconds)
        return run_ingest(IngestRequest(dataset="boxes"), settings, run or InProcess())

    def ask(self, sql):
        with connect(Lake.open(self.root)) as session:
            return session.execute(sql).fetchall()

    def rows(self):
        """Images, annotations and findings, also those of unfinished units."""
        tables = ("images", "annotations", "quarantine")
        return [self.ask(f"SELECT count(*) FROM stored.{table}")[0][0] for table in tables]

    def swapped(self):
        """Stored images whose bytes are not those that their id was made from."""
        store = open_store(self.root)
        ids = [image_id for (image_id,) in self.ask("SELECT image_id FROM images")]
        return [
            image_id
            for image_id in ids
            if hashlib.sha256(store.read(f"images/{image_id[:2]}/{image_id}.png")).hexdigest()
            != image_id
        ]


@pytest.fixture
def inbox(s3, monkeypatch, tmp_path):
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    name = hashlib.sha256(tmp_path.name.encode()).hexdigest()[:20]
    return Inbox(s3, name, tmp_path / "drop")


class BeforeIngest(InProcess):
    """Does something after drops are sealed and before they are read."""

    def __init__(self, meddle):
        super().__init__()
        self._meddle = meddle

    def call(self, step, /, *args, **kwargs):
        if step is ingest_drops:
            self._meddle()
        return super().call(step, *args, **kwargs)


def write_other_picture(inbox):
    write_picture(inbox.folder / "images/p2.png", box_picture([((1, 1, 5, 5), GREEN)]))


def write_other_document(inbox):
    path = inbox.folder / "annotations.json"
    document = json.loads(path.read_text())
    document["annotations"] = document["annotations"][:1]
    path.write_text(json.dumps(document))


@pytest.mark.parametrize(
    ("name", "change", "annotations"),
    [("images/p2.png", write_other_picture, 2), ("annotations.json", write_other_document, 1)],
)
def test_a_drop_whose_file_is_overwritten_after_it_was_sealed_is_taken_as_it_is_now_unmixed(
    inbox, name, change, annotations
):
    inbox.put_all()

    def meddle():
        change(inbox)
        inbox.put(name)

    summary = inbox.ingest(BeforeIngest(meddle))
    summary.raise_for_bad_drops()
    (drop,) = summary.drops
    assert (drop.images, drop.annotations, drop.quarantined) == (2, annotations, 0)
    assert inbox.rows() == [2, annotations, 0]
    assert inbox.swapped() == []
    assert inbox.ingest().drops == []


@pytest.mark.parametrize(
    ("name", "change", "annotations"),
    [("images/p2.png", write_other_picture, 2), ("annotations.json", write_other_document, 1)],
)
def test_a_file_that_is_overwritten_each_time_it_was_sealed_is_named_and_nothing_is_stored(
    inbox, monkeypatch, name, change, annotations
):
    inbox.put_all()
    contents = iter((inbox.folder / name).read_bytes() + b"\n" * n for n in range(1, 10))

    def meddle():
        (inbox.folder / name).write_bytes(next(contents))
        inbox.put(name)

    def sealed_again(*args):
        drop = seal_again(*args)
        meddle()
        return drop

    with monkeypatch.context() as changing:
        changing.setattr("tasks.ingest_drops.seal_again", sealed_again)
        summary = inbox.ingest(BeforeIngest(meddle))
    with pytest.raises(DropsFailedError, match=f"inbox/monday/{name} changed after"):
        summary.raise_for_bad_drops()
    assert inbox.rows() == [0, 0, 0]
    change(inbox)
    inbox.put(name)
    (drop,) = inbox.ingest().drops
    assert (drop.images, drop.annotations, drop.quarantined) == (2, annotations, 0)
    assert inbox.swapped() == []
    assert inbox.ingest().drops == []


def test_of_a_drop_whose_file_is_deleted_after_it_was_sealed_the_rest_is_taken(inbox):
    inbox.put_all()
    summary = inbox.ingest(BeforeIngest(lambda: inbox.delete("images/p2.png")))
    assert summary.failed == []
    (drop,) = summary.drops
    assert (drop.images, drop.annotations) == (1, 1)
    assert inbox.ask("SELECT rule FROM quarantine ORDER BY 1") == [
        ("annotation.image_quarantined",),
        ("image.missing",),
    ]


def test_of_a_drop_whose_document_is_deleted_after_it_was_sealed_the_images_are_taken(inbox):
    inbox.put_all()
    summary = inbox.ingest(BeforeIngest(lambda: inbox.delete("annotations.json")))
    assert summary.failed == []
    (drop,) = summary.drops
    assert (drop.images, drop.annotations, drop.quarantined) == (2, 0, 0)
    assert inbox.ingest().drops == []


def test_it_is_caught_where_sealed_files_are_read_without_comparing(inbox, monkeypatch):
    monkeypatch.setattr("tasks.drop_images.read_sealed", lambda store, file: store.read(file.key))
    inbox.put_all()

    def meddle():
        write_other_picture(inbox)
        inbox.put("images/p2.png")

    inbox.ingest(BeforeIngest(meddle)).raise_for_bad_drops()
    assert len(inbox.swapped()) == 1


def test_a_drop_without_its_marker_is_left_alone_however_much_is_there(inbox):
    found = sorted(path for path in inbox.folder.rglob("*.*") if path.is_file())
    for path in found:
        inbox.put(path.relative_to(inbox.folder).as_posix())
        assert inbox.ingest().drops == []
    assert inbox.rows() == [0, 0, 0]
    inbox.put("_DONE")
    (drop,) = inbox.ingest().drops
    assert (drop.images, drop.annotations, drop.quarantined) == (2, 2, 0)


@pytest.mark.parametrize("aborted", [True, False])
def test_of_an_upload_in_parts_that_never_ended_nothing_is_taken(inbox, aborted):
    inbox.put("annotations.json", "images/p1.png")
    where = {"Bucket": inbox.bucket, "Key": inbox.key("images/p2.png")}
    upload = {"UploadId": inbox.client.create_multipart_upload(**where)["UploadId"]}
    body = (inbox.folder / "images/p2.png").read_bytes()
    part = inbox.client.upload_part(**where, **upload, PartNumber=1, Body=body)
    if aborted:
        inbox.client.abort_multipart_upload(**where, **upload)
    assert inbox.ingest().drops == []
    assert inbox.rows() == [0, 0, 0]
    # Whoever says that a drop is complete is believed: what is missing is named.
    inbox.put("_DONE")
    (drop,) = inbox.ingest().drops
    assert (drop.images, drop.annotations) == (1, 1)
    assert ("image.missing",) in inbox.ask("SELECT rule FROM quarantine")
    if aborted:
        inbox.put("images/p2.png")
    else:
        parts = [{"PartNumber": 1, "ETag": part["ETag"]}]
        inbox.client.complete_multipart_upload(**where, **upload, MultipartUpload={"Parts": parts})
    (drop,) = inbox.ingest().drops
    assert (drop.images, drop.annotations, drop.quarantined) == (1, 2, 0)
    assert inbox.ask("SELECT count(*) FROM annotations") == [(2,)]
    assert inbox.ask("SELECT count(*), count(DISTINCT image_id) FROM images") == [(2, 2)]
