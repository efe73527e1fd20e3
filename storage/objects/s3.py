"""Objects in a bucket of Amazon S3 or of a store that speaks its language."""

import threading
import uuid
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    IncompleteReadError,
    ReadTimeoutError,
    ResponseStreamingError,
)

from storage.errors import (
    ConditionalWritesError,
    ObjectNotFoundError,
    ObjectUnreadableError,
    StoreRefusedError,
)
from storage.objects.contract import CHUNK_BYTES, ObjectInfo, Unreadable
from storage.objects.keys import checked_key, checked_prefix
from storage.objects.refusals import OF_THE_WHOLE_STORE, explain

_ATTEMPTS = 6
_READ_TIMEOUT_SECONDS = 60
_PARALLEL_WRITES = 16
_ATTEMPT_FIELD = "segmill-attempt"

# boto3 tries again what fails, but not an answer that breaks off or stalls in its middle.
_BROKEN_OFF = (ResponseStreamingError, IncompleteReadError, ReadTimeoutError)


class S3Store:
    """An object store in a bucket, below a prefix.

    Every method that asks the store raises `StoreRefusedError` where it does not do what it is
    asked; what may pass was tried six times by then.
    """

    def __init__(self, bucket: str, prefix: str = "", endpoint_url: str | None = None) -> None:
        """Use the bucket with the credentials of the environment; nothing is requested yet.

        Args:
            bucket: Name of the bucket, which must exist.
            prefix: Part that all keys share, without slashes at its ends.
            endpoint_url: A server other than Amazon's.

        Raises:
            UnsafeKeyError: If the prefix is no plain relative path.
        """
        self._bucket = bucket
        self._prefix = prefix.strip("/")
        checked_prefix(self._prefix)
        self._client: Any = boto3.client(
            "s3",
            endpoint_url=endpoint_url,
            config=Config(
                retries={"mode": "standard", "total_max_attempts": _ATTEMPTS},
                connect_timeout=10,
                read_timeout=_READ_TIMEOUT_SECONDS,
                max_pool_connections=_PARALLEL_WRITES,
            ),
        )
        self._checked = False
        self._checking = threading.Lock()

    @property
    def root(self) -> str:
        """The `s3://` URI below which all keys lie."""
        return f"s3://{self._bucket}/{self._prefix}".rstrip("/")

    def read(self, key: str) -> bytes:
        """Return the bytes of an object.

        Raises:
            ObjectNotFoundError: If there is no such object.
            ObjectUnreadableError: If access to it is denied, or it lies in an archive tier.
            StoreRefusedError: If the store refuses for another reason.
        """
        with self._told():
            for attempts_left in reversed(range(_ATTEMPTS)):
                body = self._answer(key)["Body"]
                try:
                    return bytes(body.read())
                except _BROKEN_OFF:
                    if not attempts_left:
                        raise
        raise AssertionError("unreachable")

    def read_chunks(self, key: str) -> Iterator[bytes]:
        """Yield the bytes of an object piece by piece; the rest again where an answer breaks off.

        Raises:
            ObjectNotFoundError: As `read`, also if the object was overwritten before the rest came.
            ObjectUnreadableError, StoreRefusedError: As `read`.
        """
        given = 0
        rest: dict[str, str] = {}
        with self._told():
            for attempts_left in reversed(range(_ATTEMPTS)):
                answer = self._answer(key, **rest)
                try:
                    for chunk in answer["Body"].iter_chunks(CHUNK_BYTES):
                        given += len(chunk)
                        yield chunk
                    return
                except _BROKEN_OFF:
                    if not attempts_left:
                        raise
                if given:
                    rest = {"Range": f"bytes={given}-", "IfMatch": answer["ETag"]}

    def write(self, key: str, data: bytes | memoryview) -> None:
        """Store an object, replacing an older one; S3 shows one or the other."""
        with self._told():
            self._client.put_object(Bucket=self._bucket, Key=self._full(key), Body=bytes(data))

    def write_many(self, objects: Iterable[tuple[str, bytes | memoryview]]) -> int:
        """Store many objects with parallel requests and return how many.

        At most twice as many objects as there are parallel requests are held in memory.
        """
        room = threading.Semaphore(2 * _PARALLEL_WRITES)
        futures = []
        with ThreadPoolExecutor(_PARALLEL_WRITES) as pool:
            for key, data in objects:
                room.acquire()
                future = pool.submit(self.write, key, data)
                future.add_done_callback(lambda _: room.release())
                futures.append(future)
        for future in futures:
            future.result()
        return len(futures)

    def create(self, key: str, data: bytes | Path) -> bool:
        """Store an object only if there is none.

        Args:
            key: Its key.
            data: Its bytes, or the file that has them: at most 5 GiB, as S3 takes in one request.

        Returns:
            False if there was one already; it is unchanged.

        Raises:
            ConditionalWritesError: If the store ignores the condition.
        """
        self.require_conditional_writes()
        with self._told():
            return self._create(key, data)

    def require_conditional_writes(self) -> None:
        """Check once, by creating one object twice, that the store honours If-None-Match.

        Raises:
            ConditionalWritesError: If the second one was accepted.
        """
        with self._checking:
            if self._checked:
                return
            key = f"probes/conditional-write-{uuid.uuid4().hex}"
            try:
                with self._told():
                    honoured = self._create(key, b"1") and not self._create(key, b"2")
            finally:
                self.delete(key)
            if not honoured:
                raise ConditionalWritesError(self.root)
            self._checked = True

    def exists(self, key: str) -> bool:
        """Tell whether an object is stored under the key."""
        with self._told():
            try:
                self._client.head_object(Bucket=self._bucket, Key=self._full(key))
            except ClientError as error:
                if _status(error) == 404:
                    return False
                raise
        return True

    def list(self, prefix: str = "", unreadable: Unreadable | None = None) -> Iterator[ObjectInfo]:
        """Yield the objects whose key starts with the prefix, sorted by the key's UTF-8 bytes.

        A bucket has no folders that may not be looked into: `unreadable` is told of none.
        """
        start = f"{self._prefix}/" if self._prefix else ""
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self._bucket, Prefix=start + checked_prefix(prefix)
        )
        with self._told():
            for page in pages:
                for item in page.get("Contents", ()):
                    key = item["Key"][len(start) :]
                    if not key.endswith("/"):  # consoles make such objects to show a folder
                        yield ObjectInfo(
                            key=key,
                            size_bytes=item["Size"],
                            modified_at=item["LastModified"],
                            changed_at=item["LastModified"],
                            version=item["ETag"].strip('"'),
                        )

    def delete(self, key: str) -> None:
        """Remove an object; nothing happens if there is none."""
        with self._told():
            self._client.delete_object(Bucket=self._bucket, Key=self._full(key))

    def uri(self, key: str) -> str:
        """Return the object's `s3://` URI."""
        return f"s3://{self._bucket}/{self._full(key)}"

    def local_path(self, key: str) -> Path | None:
        """Return None: objects in a bucket have no file."""
        checked_key(key)
        return None

    @contextmanager
    def _told(self) -> Iterator[None]:
        """What the client raises, as one sentence that says what to do."""
        try:
            yield
        except (ClientError, BotoCoreError) as error:
            raise StoreRefusedError(self.root, *explain(error, self._bucket)) from error

    def _full(self, key: str) -> str:
        checked_key(key)
        return f"{self._prefix}/{key}" if self._prefix else key

    def _answer(self, key: str, **part: str) -> Any:
        try:
            return self._client.get_object(Bucket=self._bucket, Key=self._full(key), **part)
        except ClientError as error:
            overwritten = _status(error) == 412
            if overwritten or (_status(error) == 404 and _code(error) != "NoSuchBucket"):
                raise ObjectNotFoundError(key, self.root) from None
            # No access to it or its KMS key, or in Glacier.
            if _status(error) == 403 and _code(error) not in OF_THE_WHOLE_STORE:
                raise ObjectUnreadableError(key, self.root, _code(error)) from error
            raise

    def _create(self, key: str, data: bytes | Path) -> bool:
        attempt = uuid.uuid4().hex
        for left in reversed(range(_ATTEMPTS)):
            try:
                with nullcontext(data) if isinstance(data, bytes) else data.open("rb") as body:
                    self._client.put_object(
                        Bucket=self._bucket,
                        Key=self._full(key),
                        Body=body,
                        IfNoneMatch="*",
                        Metadata={_ATTEMPT_FIELD: attempt},
                    )
            except ClientError as error:
                if _status(error) == 412:
                    # The request may have been ours: stored, its answer lost, sent again.
                    return self._attempt_of(key) == attempt
                if _status(error) != 409 or not left:
                    raise
            else:
                return True
        raise AssertionError("the last attempt returns or raises")

    def _attempt_of(self, key: str) -> str | None:
        with suppress(ClientError):
            answer = self._client.head_object(Bucket=self._bucket, Key=self._full(key))
            attempt: str | None = answer["Metadata"].get(_ATTEMPT_FIELD)
            return attempt
        return None


def _status(error: ClientError) -> int:
    return int(error.response["ResponseMetadata"]["HTTPStatusCode"])


def _code(error: ClientError) -> str:
    code = str(error.response["Error"].get("Code", ""))
    return "AccessDenied" if code == "403" else code  # an answer without a body
