import boto3
import pytest
from moto.server import ThreadedMotoServer

from flows.nightly import run_nightly
from flows.running import InProcess
from tests.drops import BLUE, RED, write_box_drop

PICTURES = [[((4, 4, 10, 8), RED)], [((30, 20, 12, 10), BLUE)]]


@pytest.fixture
def bucket(monkeypatch):
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    made = boto3.resource("s3").Bucket("mill")
    made.create()
    yield made
    server.stop()


def test_a_night_on_a_bucket_is_a_night_on_a_folder(mill, bucket, tmp_path):
    folder = tmp_path / "drop"
    write_box_drop(folder, PICTURES)
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            key = f"data/inbox/monday/{path.relative_to(folder).as_posix()}"
            bucket.put_object(Key=key, Body=path.read_bytes())
    mill.settings.root = "s3://mill/data"
    summary, _ = run_nightly(mill.request, mill.settings, InProcess())
    assert (summary.ingest.images, summary.segment.segments) == (2, 2)
    assert summary.report_uri.startswith("s3://mill/data/reports/")
    folders = {item.key.split("/")[1] for item in bucket.objects.all()}
    assert folders == {"inbox", "images", "masks", "lake", "reports"}
    assert mill.ask("SELECT label FROM label_stats ORDER BY 1") == [("blue",), ("red",)]
    again, _ = run_nightly(mill.request, mill.settings, InProcess())
    assert (again.ingest.drops, again.segment.batches) == ([], 0)
