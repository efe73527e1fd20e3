"""A bucket that refuses: one clear error within a few requests, and nothing to clean up after."""

import itertools

import boto3
import pytest

from flows.ingest import run_ingest
from flows.requests import IngestRequest
from flows.running import InProcess
from storage.errors import StoreRefusedError
from tests.broken_s3 import BrokenS3
from tests.drops import BLUE, RED, write_box_drop
from tests.prefect_server import free_port

pytestmark = pytest.mark.slow

_numbers = itertools.count()
PICTURES = [[((4, 4, 10, 8), RED)], [((30, 20, 12, 10), BLUE)]]
# Status, code, headers, and words of the error: what is so, and what to do.
REFUSALS = [
    (400, "ExpiredToken", {}, ("have expired", "get new ones")),
    (403, "InvalidAccessKeyId", {}, ("does not accept the credentials", "AWS_ACCESS_KEY_ID")),
    (403, "SignatureDoesNotMatch", {}, ("does not accept the credentials", "AWS_SECRET_ACCESS")),
    (403, "RequestTimeTooSkewed", {}, ("clock of this machine is wrong", "timedatectl")),
    (400, "AuthorizationHeaderMalformed", {"x-amz-bucket-region": "eu-west-1"},
     ("is in eu-west-1", "AWS_REGION")),
    (403, "AccessDenied", {}, ("ListObjectsV2 is denied", "allow the credentials s3:ListBucket")),
    (503, "SlowDown", {}, ("overloaded", "run the same command again later")),
]  # fmt: skip


@pytest.fixture(scope="module")
def server():
    with BrokenS3().running() as running:
        yield running


@pytest.fixture
def mill_on_s3(mill, server, monkeypatch, tmp_path):
    """A mill whose inbox in a bucket holds a drop; the store works until it is told otherwise."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
    # Only how often it is tried matters here, not how long it takes.
    monkeypatch.setattr("botocore.endpoint.time.sleep", lambda seconds: None)
    bucket = boto3.resource("s3").Bucket(f"broken-{next(_numbers)}")
    bucket.create()
    write_box_drop(tmp_path / "drop", PICTURES)
    for path in sorted((tmp_path / "drop").rglob("*")):
        if path.is_file():
            key = f"data/inbox/monday/{path.relative_to(tmp_path / 'drop').as_posix()}"
            bucket.put_object(Key=key, Body=path.read_bytes())
    mill.settings.root = f"s3://{bucket.name}/data"
    yield mill
    server.refuse = lambda method, path: None


def ingest(mill):
    return run_ingest(IngestRequest(dataset="boxes"), mill.settings, InProcess())


class Refusing:
    """Refuses requests from one on, or those that a condition is true of, and counts them."""

    def __init__(self, status, code, headers=None, *, after=0, when=lambda method, path: True):
        self._answer = (status, code, headers or {})
        self._after, self._when = after, when
        self.seen = self.refused = 0

    def __call__(self, method, path):
        self.seen += 1
        if self.seen <= self._after or not self._when(method, path):
            return None
        self.refused += 1
        return self._answer


def assert_whole(mill):
    assert [drop.annotations for drop in ingest(mill).drops] in ([2], [])
    assert mill.ask("SELECT count(*) FROM images") == [(2,)]
    assert mill.ask("SELECT count(*), count(DISTINCT annotation_id) FROM annotations") == [(2, 2)]
    assert mill.ask("SELECT count(*) FROM quarantine") == [(0,)]
    assert ingest(mill).drops == []


@pytest.mark.parametrize(("status", "code", "headers", "words"), REFUSALS)
def test_what_the_store_refuses_is_one_error_that_says_what_to_do(
    mill_on_s3, server, status, code, headers, words
):
    server.refuse = refusing = Refusing(status, code, headers)
    with pytest.raises(StoreRefusedError) as caught:
        ingest(mill_on_s3)
    told = str(caught.value)
    assert told.startswith(f"{mill_on_s3.settings.root}: ")
    assert all(word in told for word in words), told
    assert "\n" not in told
    assert refusing.refused <= 12
    server.refuse = lambda method, path: None
    assert_whole(mill_on_s3)


@pytest.mark.parametrize("after", [2, 8, 14, 20, 30, 45, 70])
def test_credentials_that_end_during_a_run_cost_nothing_but_the_run(mill_on_s3, server, after):
    """An object that cannot be read then is not taken for a bad one."""
    server.refuse = refusing = Refusing(403, "InvalidAccessKeyId", after=after)
    with pytest.raises(StoreRefusedError, match="does not accept the credentials"):
        ingest(mill_on_s3)
    assert 0 < refusing.refused <= 60
    server.refuse = lambda method, path: None
    assert_whole(mill_on_s3)


def test_there_are_that_many_requests_to_end_at(mill_on_s3, server):
    server.refuse = counting = Refusing(403, "", when=lambda method, path: False)
    ingest(mill_on_s3)
    assert counting.seen > 75


@pytest.mark.parametrize(
    ("method", "part", "right"),
    [
        ("PUT", "/images/", "s3:PutObject"),
        ("PUT", "/probes/", "s3:PutObject"),
        ("DELETE", "/probes/", "s3:DeleteObject"),
        ("PUT", "/_delta_log/", "s3:PutObject"),
        ("GET", "/_delta_log/", "s3:GetObject"),
    ],
)
def test_a_right_that_is_missing_is_named(mill_on_s3, server, method, part, right):
    def is_denied(asked, path):
        return asked == method and part in path

    server.refuse = refusing = Refusing(403, "AccessDenied", when=is_denied)
    with pytest.raises(StoreRefusedError, match=f"allow the credentials .*{right}"):
        ingest(mill_on_s3)
    assert refusing.refused <= 30
    server.refuse = lambda method, path: None
    assert_whole(mill_on_s3)


def test_a_region_that_only_the_tables_writer_minds_is_told(mill_on_s3, server):
    server.refuse = Refusing(301, "PermanentRedirect", when=lambda _, path: "_delta_log" in path)
    with pytest.raises(StoreRefusedError, match="in another region") as caught:
        ingest(mill_on_s3)
    assert "AWS_REGION" in caught.value.do


def test_a_bucket_that_is_not_there_is_told(mill_on_s3):
    mill_on_s3.settings.root = "s3://absent-bucket/data"
    with pytest.raises(StoreRefusedError, match="there is no bucket absent-bucket"):
        ingest(mill_on_s3)


def test_a_store_that_is_down_is_told(mill_on_s3, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    with pytest.raises(StoreRefusedError, match="see whether the server is up"):
        ingest(mill_on_s3)
