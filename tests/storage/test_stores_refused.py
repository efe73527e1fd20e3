"""A real S3 server that takes every write, whatever must not be overwritten, is refused."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import BotoCoreError

from storage.errors import ConditionalWritesError
from storage.lake import Lake
from storage.objects import open_store


@pytest.fixture
def rclone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """`rclone serve s3`: a bucket on it, as a URI."""
    (tmp_path / "served" / "bucket").mkdir(parents=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    server = subprocess.Popen(
        [Path(sys.executable).with_name("rclone"), "serve", "s3", tmp_path / "served",
         "--addr", address, "--auth-key", "test,test", "--config", os.devnull],
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    # boto3 keeps the first credentials that it finds.
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    for name, value in {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_REQUEST_CHECKSUM_CALCULATION": "when_required",
        "SEGMILL_S3_ENDPOINT_URL": f"http://{address}",
    }.items():
        monkeypatch.setenv(name, value)
    quick = Config(connect_timeout=1, retries={"total_max_attempts": 1})
    try:
        client = boto3.client("s3", endpoint_url=f"http://{address}", config=quick)
        for _ in range(100):
            try:
                client.list_buckets()
                break
            except BotoCoreError:
                time.sleep(0.1)
        yield "s3://bucket/root"
    finally:
        server.kill()
        server.wait()


def test_a_server_that_ignores_if_none_match_is_refused(
    rclone: str, segment: Callable[..., dict[str, Any]]
):
    store = open_store(rclone)
    store.write("images/a.png", b"as usual")
    assert store.read("images/a.png") == b"as usual"
    with pytest.raises(ConditionalWritesError):
        Lake.open(rclone).append("segments", [segment()], "unit")
    # Neither a table nor what it was tried with is left.
    assert [found.key for found in store.list("")] == ["images/a.png"]
