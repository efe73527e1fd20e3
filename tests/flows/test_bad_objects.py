"""The rows of the bad-input matrix that concern a bucket and what comes after a drop."""

import json
from pathlib import Path

import boto3
import pytest
from moto.server import ThreadedMotoServer

from flows.ingest import run_ingest
from flows.requests import IngestRequest
from flows.running import InProcess
from flows.summaries import DropsFailedError
from tests.drops import BLUE, RED, box_picture, write_box_drop, write_picture

PICTURES = [[((4, 4, 10, 8), RED)], [((30, 20, 12, 10), BLUE)]]


@pytest.fixture(scope="module")
def server():
    running = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    yield f"http://{host}:{port}"
    running.stop()


@pytest.fixture
def bucket(server, monkeypatch, tmp_path):
    monkeypatch.setenv("AWS_ENDPOINT_URL", server)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    made = boto3.resource("s3").Bucket(tmp_path.name.replace("_", "-").lower()[:60].strip("-"))
    made.create()
    return made


@pytest.fixture
def mill_on_s3(mill, bucket):
    mill.settings.root = f"s3://{bucket.name}/data"
    return mill


def upload(bucket, folder: Path, name="monday", storage_classes=None):
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            relative = path.relative_to(folder).as_posix()
            bucket.put_object(
                Key=f"data/inbox/{name}/{relative}",
                Body=path.read_bytes(),
                StorageClass=(storage_classes or {}).get(relative, "STANDARD"),
            )


def ingest(mill):
    return run_ingest(IngestRequest(dataset="boxes"), mill.settings, InProcess())


def quarantined(mill):
    return mill.ask("SELECT file, rule FROM quarantine WHERE rule NOT LIKE 'annotation.%'")


def test_case_126_keys_with_spaces_and_percent_signs_are_taken_as_they_are(
    mill_on_s3, bucket, tmp_path
):
    document = write_box_drop(tmp_path / "drop", PICTURES)
    name = "images/a b+c%20d é.png"
    (tmp_path / "drop/images/p2.png").rename(tmp_path / "drop" / name)
    document["images"][1]["file_name"] = name
    (tmp_path / "drop/annotations.json").write_text(json.dumps(document))
    upload(bucket, tmp_path / "drop")
    (drop,) = ingest(mill_on_s3).drops
    assert (drop.images, drop.annotations, drop.quarantined) == (2, 2, 0)
    assert (name,) in mill_on_s3.ask("SELECT file_name FROM images")


def test_case_127_an_overwritten_key_makes_a_new_drop(mill_on_s3, bucket, tmp_path):
    write_box_drop(tmp_path / "drop", PICTURES)
    upload(bucket, tmp_path / "drop")
    (first,) = ingest(mill_on_s3).drops
    write_picture(tmp_path / "drop/images/p2.png", box_picture([((1, 1, 5, 5), RED)]))
    upload(bucket, tmp_path / "drop")
    (second,) = ingest(mill_on_s3).drops
    assert first.drop_id != second.drop_id
    assert second.images == 1
    assert len(mill_on_s3.ask("FROM images")) == 3


def test_case_128_hearing_of_a_drop_twice_changes_nothing(mill, tmp_path):
    write_box_drop(mill.inbox / "monday", PICTURES)
    source = str(mill.inbox / "monday")
    request = IngestRequest(dataset="boxes", source=source)
    run_ingest(request, mill.settings, InProcess())
    tables = mill.tables()
    (again,) = run_ingest(request, mill.settings, InProcess()).drops
    assert again.already_ingested
    assert mill.tables() == tables


def test_case_129_the_order_in_which_files_arrive_does_not_matter(mill, tmp_path):
    for name, reverse in (("monday", False), ("tuesday", True)):
        write_box_drop(tmp_path / name, PICTURES, done=False)
        files = sorted((p for p in (tmp_path / name).rglob("*") if p.is_file()), reverse=reverse)
        for path in files:
            assert ingest(mill).drops == []
            target = mill.inbox / name / path.relative_to(tmp_path / name)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
        (mill.inbox / name / "_DONE").touch()
        assert [drop.quarantined for drop in ingest(mill).drops] == [0]
    assert len(mill.ask("SELECT DISTINCT subject FROM units WHERE stage = 'ingest'")) == 1


def test_case_130_an_object_behind_a_delete_marker_is_missing(mill_on_s3, bucket, tmp_path):
    bucket.Versioning().enable()
    write_box_drop(tmp_path / "drop", PICTURES)
    upload(bucket, tmp_path / "drop")
    bucket.Object("data/inbox/monday/images/p2.png").delete()
    (drop,) = ingest(mill_on_s3).drops
    assert (drop.images, drop.annotations) == (1, 1)
    assert quarantined(mill_on_s3) == [("annotations.json", "image.missing")]


def test_case_131_an_object_of_the_wrong_size_is_set_aside(mill_on_s3, bucket, tmp_path):
    write_box_drop(tmp_path / "drop", PICTURES)
    picture = tmp_path / "drop/images/p2.png"
    picture.write_bytes(picture.read_bytes()[:90])
    upload(bucket, tmp_path / "drop")
    (drop,) = ingest(mill_on_s3).drops
    assert (drop.images, drop.annotations) == (1, 1)
    assert quarantined(mill_on_s3) == [("images/p2.png", "image.truncated")]


def test_case_132_objects_that_stand_for_folders_are_ignored(mill_on_s3, bucket, tmp_path):
    write_box_drop(tmp_path / "drop", PICTURES)
    upload(bucket, tmp_path / "drop")
    for key in ("data/inbox/", "data/inbox/monday/", "data/inbox/monday/images/"):
        bucket.put_object(Key=key, Body=b"")
    (drop,) = ingest(mill_on_s3).drops
    assert (drop.images, drop.quarantined) == (2, 0)


def test_case_133_an_object_that_may_not_be_read_is_set_aside_by_name(mill_on_s3, bucket, tmp_path):
    write_box_drop(tmp_path / "drop", PICTURES)
    upload(bucket, tmp_path / "drop")
    arn = f"arn:aws:s3:::{bucket.name}/data/inbox/monday/"
    deny = {"Effect": "Deny", "Principal": "*", "Action": "s3:GetObject"}
    one = {"Statement": [deny | {"Resource": arn + "images/p2.png"}]}
    bucket.Policy().put(Policy=json.dumps(one))
    (drop,) = ingest(mill_on_s3).drops
    assert (drop.images, drop.annotations) == (1, 1)
    assert quarantined(mill_on_s3) == [("images/p2.png", "image.unreadable")]
    (again,) = ingest(mill_on_s3).drops
    assert again.already_ingested
    bucket.Policy().delete()
    (mended,) = ingest(mill_on_s3).drops
    assert (mended.images, mended.annotations, mended.quarantined) == (1, 2, 0)
    assert mill_on_s3.ask("SELECT count(*) FROM annotations") == [(2,)]
    assert ingest(mill_on_s3).drops == []


def test_where_nothing_may_be_read_the_run_fails_and_the_drop_stays_new(
    mill_on_s3, bucket, tmp_path
):
    write_box_drop(tmp_path / "drop", PICTURES)
    upload(bucket, tmp_path / "drop")
    arn = f"arn:aws:s3:::{bucket.name}/data/inbox/*"
    deny = {"Effect": "Deny", "Principal": "*", "Action": "s3:GetObject", "Resource": arn}
    bucket.Policy().put(Policy=json.dumps({"Statement": [deny]}))
    with pytest.raises(DropsFailedError, match="AccessDenied"):
        ingest(mill_on_s3).raise_for_bad_drops()
    bucket.Policy().delete()
    (drop,) = ingest(mill_on_s3).drops
    assert (drop.images, drop.annotations) == (2, 2)


def test_case_134_an_object_in_glacier_is_set_aside_by_name(mill_on_s3, bucket, tmp_path):
    write_box_drop(tmp_path / "drop", PICTURES)
    upload(bucket, tmp_path / "drop", storage_classes={"images/p2.png": "GLACIER"})
    (drop,) = ingest(mill_on_s3).drops
    assert (drop.images, drop.annotations) == (1, 1)
    assert quarantined(mill_on_s3) == [("images/p2.png", "image.unreadable")]
    (value,) = mill_on_s3.ask("SELECT value FROM quarantine WHERE rule = 'image.unreadable'")
    assert value == ("InvalidObjectState",)


def test_case_033_a_renamed_category_is_kept_beside_the_old_one_and_said(mill):
    document = write_box_drop(mill.inbox / "monday", PICTURES)
    first = ingest(mill).drops
    document["categories"][0]["name"] = "crate"
    write_box_drop(mill.inbox / "tuesday", [[((9, 9, 5, 5), RED)]])
    document["images"], document["annotations"] = (
        document["images"][:1],
        document["annotations"][:1],
    )
    (mill.inbox / "tuesday/annotations.json").write_text(json.dumps(document))
    second = ingest(mill).drops
    assert [drop.notes for drop in first] == [()]
    assert ["category.new" in note for drop in second for note in drop.notes] == [True]
    assert mill.ask("SELECT DISTINCT category FROM annotations ORDER BY 1") == [
        ("box",),
        ("crate",),
    ]


def test_case_136_a_label_that_looks_like_sql_stays_text(mill):
    label = "'); DROP TABLE segments; --"
    document = write_box_drop(mill.inbox / "monday", PICTURES)
    document["categories"][0]["name"] = label
    (mill.inbox / "monday/annotations.json").write_text(json.dumps(document))
    ingest(mill)
    assert mill.ask("SELECT DISTINCT category FROM annotations") == [(label,)]
    assert mill.ask("SELECT count(*) FROM segments") == [(0,)]
