"""Delta tables with exactly-once appends: a unit of work is committed to a table at most once."""

import os
import random
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pyarrow as pa
from deltalake import (
    ColumnProperties,
    CommitProperties,
    DeltaTable,
    Transaction,
    WriterProperties,
    write_deltalake,
)
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError

from storage.errors import (
    CommitConflictError,
    LakePathError,
    UnknownTableError,
    UnknownVersionError,
)
from storage.rows import check_stored_schema, columns_missing, rows_to_table
from storage.schemas import TABLES
from storage.session import connect
from storage.settings import get_settings

_ATTEMPTS = 20
_TRANSACTION_VERSION = 1
# Characters with which the table format's writer aborts the process, or writes elsewhere.
_IMPOSSIBLE = re.compile(r"[\[\]\\^|\x00-\x1f\x7f]|%[0-9A-Fa-f]{2}")
_DICTIONARY_COLUMNS = [
    "category",
    "dataset",
    "drop_id",
    "image_id",
    "label",
    "label_set_id",
    "model_id",
    "params_id",
    "rule",
    "run_id",
    "source",
    "split",
    "stage",
    "unit_id",
]


class Lake:
    """The Delta tables below one folder or `s3://` URI. Tables come into being when written."""

    def __init__(self, root: str, storage_options: Mapping[str, str] | None = None) -> None:
        """Use the tables below a root; nothing is opened yet.

        Args:
            root: The folder or `s3://` URI that holds one folder per table.
            storage_options: Options of the object store beside the environment's, as the
                `deltalake` package names them.

        Raises:
            LakePathError: If the path contains characters the table format cannot take.
        """
        self.is_local = "://" not in root
        self.root = str(Path(root).expanduser().absolute()) if self.is_local else root.rstrip("/")
        if self.is_local and (found := _IMPOSSIBLE.search(self.root)):
            raise LakePathError(self.root, found.group())
        self._options = None if self.is_local else _s3_options() | dict(storage_options or {})
        self._writable = self.is_local

    @classmethod
    def open(cls, settings_root: str) -> "Lake":
        """Open the lake of a SegMill root: its tables lie in `lake/`."""
        return cls(f"{settings_root.rstrip('/')}/lake")

    def append(
        self, table: str, rows: Sequence[Mapping[str, Any]] | pa.Table, unit_id: str
    ) -> bool:
        """Commit rows to a table in the name of a unit of work, exactly once.

        Of two writers that commit the same unit at once one wins, the other reads that back.

        Args:
            table: Name of the table.
            rows: The rows; nullable columns may be left out, and `unit_id` is filled in. No rows
                are a commit as well.
            unit_id: The unit of work.

        Returns:
            True if the rows were committed now, False if the unit was in the table already.

        Raises:
            UnknownTableError: If the lake has no such table.
            RowsRefusedError: If rows do not fit the table.
            SchemaDriftError: If a column is stored with another type.
            CommitConflictError: If other writers won every attempt.
            ConditionalWritesError: If the object store would let writers overwrite each other.
        """
        data = rows_to_table(table, self._schema(table), rows, unit_id)
        self._require_conditional_writes()
        for attempt in range(_ATTEMPTS):
            stored = self._open(table) or self._create(table)
            if stored.transaction_version(unit_id) is not None:
                return False
            check_stored_schema(table, stored)
            try:
                # The opened table, not its path: the check above and the conflict check of the
                # commit must look at the same version.
                write_deltalake(
                    stored,
                    data,
                    mode="append",
                    schema_mode="merge" if columns_missing(table, stored) else None,
                    writer_properties=_writer_properties(data.schema),
                    commit_properties=CommitProperties(
                        app_transactions=[Transaction(unit_id, _TRANSACTION_VERSION)]
                    ),
                )
            except CommitFailedError:
                time.sleep(random.uniform(0, min(1.0, 0.01 * 2**attempt)))
            else:
                return True
        raise CommitConflictError(table, unit_id, _ATTEMPTS)

    def commit_unit(
        self,
        *,
        stage: str,
        unit_id: str,
        subject: str,
        inputs: int,
        outputs: int,
        run_id: str | None = None,
        image_ids: Iterable[str] = (),
        model_id: str | None = None,
        params_id: str | None = None,
        label_set_id: str | None = None,
    ) -> bool:
        """Declare a unit finished: from now on readers see the rows it wrote to other tables.

        Args:
            stage: Kind of work: ingest, segment, stats...
            unit_id: The unit, whose rows are all committed.
            subject: What was worked on: a drop, or a batch of images.
            inputs: Number of inputs.
            outputs: Number of rows written.
            run_id: The run that did it.
            image_ids: Images finished by this unit, those without a result as well.
            model_id: Model that was used.
            params_id: Parameters that were used.
            label_set_id: Label set that was used.

        Returns:
            True if it was declared now, False if it was before.

        Raises:
            ValueError: If a unit of stage `segment` does not name its images.
            StorageError: As `append`.
        """
        images = list(image_ids)
        if stage == "segment" and not images:
            raise ValueError("A unit of stage 'segment' must name the images it finished")
        row = {
            "stage": stage,
            "subject": subject,
            "inputs": inputs,
            "outputs": outputs,
            "run_id": run_id,
            "committed_at": datetime.now(UTC),
            "image_ids": images,
            "model_id": model_id,
            "params_id": params_id,
            "label_set_id": label_set_id,
        }
        return self.append("units", [row], unit_id)

    def has_unit(self, table: str, unit_id: str) -> bool:
        """Tell whether a unit is committed to a table; ask `units` whether it is finished."""
        stored = self.table(table)
        return stored is not None and stored.transaction_version(unit_id) is not None

    def version(self, table: str) -> int | None:
        """Return the newest version of a table, or None if it was never written."""
        stored = self.table(table)
        return None if stored is None else stored.version()

    def file_uris(self, table: str) -> list[str]:
        """Return the live Parquet files of a table: absolute paths or `s3://` URIs."""
        stored = self.table(table)
        return [] if stored is None else self.live_files(stored)

    def live_files(self, stored: DeltaTable) -> list[str]:
        """Return the live Parquet files of an opened table of this lake."""
        uris = stored.file_uris()
        # Local paths come back percent-encoded.
        return [unquote(uri) for uri in uris] if self.is_local else uris

    def table(self, table: str, version: int | None = None) -> DeltaTable | None:
        """Open a table at a version, or at its newest; None if it was never written.

        Raises:
            UnknownTableError: If the lake has no such table.
            UnknownVersionError: If the table has no such version.
        """
        self._schema(table)
        try:
            return self._open(table, version)
        except DeltaError as error:
            newest = None if version is None else self._open(table)
            if version is None or newest is None:
                raise
            raise UnknownVersionError(table, version, newest.version()) from error

    def read(self, table: str, committed_only: bool = True) -> pa.Table:
        """Read a whole table.

        Args:
            table: Name of the table.
            committed_only: Whether rows of unfinished units are left out.

        Returns:
            The rows with the table's schema, in no particular order.
        """
        schema = self._schema(table)
        with connect(self) as session:
            name = f'"{table}"' if committed_only else f'stored."{table}"'
            found = session.sql(f"SELECT * FROM {name}").to_arrow_table()
        return found.cast(schema)

    def _schema(self, table: str) -> pa.Schema:
        try:
            return TABLES[table]
        except KeyError:
            raise UnknownTableError(table, TABLES) from None

    def _uri(self, table: str) -> str:
        return f"{self.root}/{table}"

    def _open(self, table: str, version: int | None = None) -> DeltaTable | None:
        try:
            return DeltaTable(self._uri(table), version=version, storage_options=self._options)
        except TableNotFoundError:
            return None

    def _create(self, table: str) -> DeltaTable:
        schema = TABLES[table]
        try:
            DeltaTable.create(
                self._uri(table),
                schema,
                name=table,
                description=" ".join(value.decode() for value in schema.metadata.values()),
                storage_options=self._options,
            )
        except DeltaError:
            # Another writer made it in between: then it can be opened, else the error stands.
            if (stored := self._open(table)) is not None:
                return stored
            raise
        stored = self._open(table)
        assert stored is not None
        return stored

    def _require_conditional_writes(self) -> None:
        if not self._writable:
            from storage.objects.s3 import S3Store  # boto3 is slow to import

            bucket, _, prefix = self.root.removeprefix("s3://").partition("/")
            endpoint = (self._options or {}).get("AWS_ENDPOINT_URL")
            S3Store(bucket, prefix, endpoint_url=endpoint).require_conditional_writes()
            self._writable = True


def _s3_options() -> dict[str, str]:
    options = {"conditional_put": "etag"}
    endpoint = get_settings().s3_endpoint_url or os.environ.get("AWS_ENDPOINT_URL")
    if endpoint:
        options["AWS_ENDPOINT_URL"] = endpoint
        options["AWS_ALLOW_HTTP"] = "true" if endpoint.startswith("http://") else "false"
        options["AWS_REGION"] = (
            os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"
        )
    return options


def _writer_properties(schema: pa.Schema) -> WriterProperties:
    with_dictionary = ColumnProperties(dictionary_enabled=True)
    return WriterProperties(
        compression="ZSTD",
        compression_level=1,
        max_row_group_size=32_768,
        default_column_properties=ColumnProperties(dictionary_enabled=False),
        column_properties={
            name: with_dictionary for name in _DICTIONARY_COLUMNS if name in schema.names
        },
    )
