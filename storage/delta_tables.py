"""The Delta tables below a root, as files of a store: opened, made, widened, and committed to."""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, Schema
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError

from storage.addresses import require_plain
from storage.errors import LakePathError, StoreRefusedError, TableLogLostError
from storage.objects import ObjectStore, open_store
from storage.schemas import TABLES
from storage.settings import get_settings

# Characters with which the table format's writer aborts the process, or writes elsewhere.
_IMPOSSIBLE = re.compile(r"[\[\]\\^|\x00-\x1f\x7f]|%[0-9A-Fa-f]{2}")
_BROKEN_OFF = "error reading a body"
_READS = 4


class DeltaTables:
    """The tables below one folder or `s3://` URI.

    Attributes:
        root: The folder, absolute, or the URI, without a slash at its end.
        is_local: Whether it is a folder.
        options: Options of the object store, as the `deltalake` package names them; None of a
            folder.
    """

    def __init__(self, root: str, storage_options: Mapping[str, str] | None = None) -> None:
        """Use the tables below a root; nothing is opened yet.

        Args:
            root: The folder or `s3://` URI that holds one folder per table.
            storage_options: Options of the object store beside the environment's.

        Raises:
            LakePathError: If the path contains characters the table format cannot take.
            SecretInAddressError: If it, or the address of the server, has a password in it.
        """
        require_plain(root, "the root")
        self.is_local = "://" not in root
        self.root = str(Path(root).expanduser().absolute()) if self.is_local else root.rstrip("/")
        if self.is_local and (found := _IMPOSSIBLE.search(self.root)):
            raise LakePathError(self.root, found.group())
        self.options = None if self.is_local else _s3_options() | dict(storage_options or {})
        self._writable = self.is_local
        self._objects: ObjectStore | None = None

    @property
    def objects(self) -> ObjectStore:
        """The store of the tables' files: `TABLE/NAME` is the key of one."""
        if self._objects is None:
            self._objects = open_store(self.root)
        return self._objects

    def open(self, table: str, version: int | None = None) -> DeltaTable | None:
        """Open a table at a version, or at its newest; None if there is none.

        Raises:
            StoreRefusedError: If the store refuses it.
        """
        with self._told():
            for attempts_left in reversed(range(_READS)):
                try:
                    return DeltaTable(
                        self._uri(table), version=version, storage_options=self.options
                    )
                except TableNotFoundError:
                    return None
                except (DeltaError, OSError) as error:
                    # The writer tries again whatever fails, but for answers that break off.
                    if not attempts_left or _BROKEN_OFF not in str(error):
                        raise
        raise AssertionError("unreachable")

    def create(self, table: str) -> DeltaTable:
        """Make an empty table, or open the one that another writer made meanwhile.

        Raises:
            TableLogLostError: If the table has files, but no log.
            StoreRefusedError: If the store refuses it.
        """
        schema = TABLES[table]
        found = self.objects.list(f"{table}/")
        if any(known.key.endswith(".parquet") for known in found):
            # Made by another writer in between; else maintenance would take them for garbage.
            if (stored := self.open(table)) is not None:
                return stored
            raise TableLogLostError(table, self._uri(table))
        try:
            with self._told():
                DeltaTable.create(
                    self._uri(table),
                    schema,
                    name=table,
                    description=" ".join(value.decode() for value in schema.metadata.values()),
                    storage_options=self.options,
                    # A retry would make it again, as its second version.
                    commit_properties=CommitProperties(max_commit_retries=0),
                )
        except (DeltaError, StoreRefusedError):
            # Another writer made it in between: then it can be opened, else the error stands.
            if (stored := self.open(table)) is not None:
                return stored
            raise
        stored = self.open(table)
        assert stored is not None
        return stored

    def add_missing_columns(self, table: str, stored: DeltaTable) -> None:
        """Commit the columns that an opened table lacks.

        Raises:
            CommitFailedError: If another writer came in between.
            StoreRefusedError: If the store refuses it.
        """
        known = set(pa.schema(stored.schema().to_arrow()).names)
        # Null in the rows that are there, whatever the rows to come must have.
        missing = [field.with_nullable(True) for field in TABLES[table] if field.name not in known]
        with self._told():
            stored.alter.add_columns(Schema.from_arrow(pa.schema(missing)).fields)

    def commit(
        self, stored: DeltaTable, actions: Sequence[Any], properties: CommitProperties
    ) -> None:
        """Commit files to an opened table, at the version that comes after it.

        The opened table, not its path: what was checked in it and the conflict check of the commit
        must look at the same version.

        Raises:
            CommitFailedError: If another writer came in between, or an answer broke off, so that
                it is not known whether this was committed.
            StoreRefusedError: If the store refuses it.
        """
        with self._told():
            try:
                stored.create_write_transaction(
                    list(actions), "append", stored.schema(), commit_properties=properties
                )
            except (DeltaError, OSError) as error:
                if _BROKEN_OFF in str(error):
                    raise CommitFailedError(str(error)) from error
                raise

    def require_conditional_writes(self) -> None:
        """Refuse a store with which two writers could both win.

        Raises:
            StorageError: If the store ignores create-only writes, or refuses to be asked.
        """
        if not self._writable:
            from storage.objects.s3 import S3Store  # boto3 is slow to import

            bucket, _, prefix = self.root.removeprefix("s3://").partition("/")
            endpoint = (self.options or {}).get("AWS_ENDPOINT_URL")
            S3Store(bucket, prefix, endpoint_url=endpoint).require_conditional_writes()
            self._writable = True

    def _uri(self, table: str) -> str:
        return f"{self.root}/{table}"

    @contextmanager
    def _told(self) -> Iterator[None]:
        """What the table format's writer raises of a bucket, as one sentence that says what to do.

        A lost race for a commit is not among it.
        """
        try:
            yield
        except (DeltaError, OSError) as error:
            if self.is_local or isinstance(error, CommitFailedError):
                raise
            from storage.objects.refusals import explain_delta  # boto3 is slow to import

            bucket = self.root.removeprefix("s3://").partition("/")[0]
            if (refused := explain_delta(error, bucket)) is None:
                raise
            raise StoreRefusedError(self.root, *refused) from error


def _s3_options() -> dict[str, str]:
    options = {"conditional_put": "etag"}
    endpoint = get_settings().s3_endpoint
    if endpoint:
        options["AWS_ENDPOINT_URL"] = endpoint
        options["AWS_ALLOW_HTTP"] = "true" if endpoint.startswith("http://") else "false"
        options["AWS_REGION"] = (
            os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"
        )
    return options
