"""The store of the data root: is it there, and can it be read, written, and written only once?"""

import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from app.health.findings import Finding, ok, problem, warning
from storage.errors import (
    ConditionalWritesError,
    SecretInAddressError,
    StorageError,
    StoreRefusedError,
)
from storage.objects import LocalStore, ObjectStore, open_store
from storage.objects.refusals import explain
from storage.settings import Settings

_CHECK = "store"
_PROBES = "probes/"
_INBOX = "inbox/"


def check_store(settings: Settings) -> tuple[list[Finding], datetime | None]:
    """Look at the store; what is written for that is deleted again.

    Args:
        settings: Of the machine.

    Returns:
        What was found, and the clock of the store, where it has one.
    """
    root = settings.root
    if "://" not in root:
        folder = Path(root).expanduser().absolute()
        try:
            return list(_folder(folder)), None
        except OSError as error:  # a folder above that may not be looked into, a name too long
            do = "correct SEGMILL_ROOT, or its owner"
            return [problem(_CHECK, f"{folder} cannot be looked at: {error}", do)], None
    bucket, _, prefix = root.removeprefix("s3://").partition("/")
    if not root.startswith("s3://") or not bucket:
        return [problem(_CHECK, f"{root} is no root", "use a folder or s3://bucket/prefix")], None
    try:
        endpoint_url = settings.s3_endpoint
    except SecretInAddressError as error:
        return [problem(_CHECK, str(error), "correct the variable")], None
    try:
        client = _client(endpoint_url)
        # Not HEAD, whose refusals have no body that says why; and not all of the bucket, which a
        # worker need not be allowed to list.
        inbox = f"{prefix.strip('/')}/{_INBOX}".removeprefix("/")
        answer = client.list_objects_v2(Bucket=bucket, Prefix=inbox, MaxKeys=1)
    except (ClientError, BotoCoreError, ValueError) as error:
        found, do = explain(error, bucket)
        return [problem(_CHECK, f"{root}: {found}", do)], _date(getattr(error, "response", {}))
    region = _region(client, bucket, endpoint_url)
    return [*region, *_bucket(root, bucket)], _date(answer)


def _folder(folder: Path) -> Iterator[Finding]:
    if not folder.exists():
        nearest = next(parent for parent in folder.parents if parent.exists())
        if not nearest.is_dir() or not os.access(nearest, os.W_OK):
            yield problem(
                _CHECK,
                f"{folder} cannot be made in {nearest}",
                "correct SEGMILL_ROOT, or its owner",
            )
        else:
            yield warning(
                _CHECK, f"{folder} is not there", "right if it is new: the first write makes it"
            )
        return
    store = LocalStore(folder)
    try:
        _write_once(store)
    except (OSError, StorageError) as error:
        yield problem(
            _CHECK,
            f"{folder} cannot be written: {error}",
            "make it a folder that this user owns, on a disk with space and hard links",
        )
        return
    yield ok(_CHECK, f"{folder} can be read and written, and creates an object only once")


def _client(endpoint_url: str | None) -> Any:
    # A doctor says soon that nobody answers; the engine itself tries longer.
    config = Config(
        retries={"mode": "standard", "total_max_attempts": 2}, connect_timeout=5, read_timeout=10
    )
    return boto3.client("s3", endpoint_url=endpoint_url, config=config)


def _region(client: Any, bucket: str, endpoint_url: str | None) -> Iterator[Finding]:
    # boto3 finds a bucket wherever it is; the tables' writer asks in the region it is told.
    try:
        answer = client.head_bucket(Bucket=bucket)
    except (ClientError, BotoCoreError):
        return  # not allowed to know
    headers = answer["ResponseMetadata"]["HTTPHeaders"]
    there = answer.get("BucketRegion") or headers.get("x-amz-bucket-region")
    here = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    if not there or here == there:
        return
    if here or not endpoint_url:
        yield problem(
            "region",
            f"the bucket {bucket} is in {there}, and the region here is {here or 'not set'}",
            f"set AWS_REGION and AWS_DEFAULT_REGION to {there}",
        )


def _bucket(root: str, bucket: str) -> Iterator[Finding]:
    store = open_store(root)
    steps: list[tuple[str, Callable[[], Any]]] = [
        ("list", lambda: next(iter(store.list(_INBOX)), None)),
        ("write", lambda: _write_once(store)),
    ]
    failed = False
    for what, step in steps:
        try:
            step()
        except ConditionalWritesError as error:
            failed = True
            yield problem(_CHECK, str(error), "two runs at once would damage the tables")
        except StoreRefusedError as error:
            failed = True
            yield problem(_CHECK, f"{root}: cannot {what}: {error.found}", error.do)
        except StorageError as error:
            failed = True
            found, do = explain(_cause(error), bucket)
            yield problem(_CHECK, f"{root}: cannot {what}: {found}", do)
    if not failed:
        yield ok(
            _CHECK, f"{root} can be listed, read, written and deleted, and creates an object once"
        )


def _write_once(store: ObjectStore) -> None:
    """Create, read and delete a probe; a bucket's store tries a second creation before."""
    key = f"{_PROBES}doctor-{uuid.uuid4().hex}"
    try:
        store.create(key, b"1")
        store.read(key)
    except Exception:
        with suppress(Exception):
            store.delete(key)
        raise
    store.delete(key)
    if isinstance(store, LocalStore):
        with suppress(OSError):  # others probe as well
            Path(store.uri(key)).parent.rmdir()


def _cause(error: Exception) -> Exception:
    return error.__cause__ if isinstance(error.__cause__, ClientError) else error


def _date(answer: Any) -> datetime | None:
    text = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date")
    with suppress(TypeError, ValueError):
        date = parsedate_to_datetime(text)
        return date if date.tzinfo else date.replace(tzinfo=UTC)
    return None
