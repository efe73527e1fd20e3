"""What people read when the store does not do what it is asked."""

import boto3
import pytest

from tests.broken_s3 import BrokenS3


@pytest.fixture
def server(monkeypatch):
    with BrokenS3().running() as running:
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        monkeypatch.setenv("AWS_ENDPOINT_URL", running.url)
        monkeypatch.setattr("botocore.endpoint.time.sleep", lambda seconds: None)
        boto3.client("s3").create_bucket(Bucket="broken")
        yield running


@pytest.mark.parametrize("verb", ["ingest", "status", "watch", "verify", "nightly"])
@pytest.mark.parametrize(
    ("status", "code", "word"),
    [(400, "ExpiredToken", "expired"), (403, "AccessDenied", "allow the credentials")],
)
def test_each_command_says_it_in_a_sentence(command, server, verb, status, code, word):
    server.refuse = lambda method, path: (status, code, {})
    told = command(verb, "--root", "s3://broken/data")
    assert told.code == 1
    assert "failed: s3://broken/data" in told.err
    assert word in told.err
    assert "Traceback" not in told.err


def test_a_bucket_that_is_not_there(command, server):
    told = command("ingest", "--root", "s3://absent-bucket/data")
    assert told.code == 1
    assert told.err.endswith(
        "failed: s3://absent-bucket/data: there is no bucket absent-bucket; make it, or correct "
        "SEGMILL_ROOT; on another server than Amazon's see SEGMILL_S3_ENDPOINT_URL as well"
    )
