"""Delta tables with exactly-once appends: a unit of work is committed to a table at most once."""

import random
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, Transaction
from deltalake.exceptions import CommitFailedError, DeltaError
from deltalake.transaction import AddAction

from storage.data_files import DataFile, data_files, row_groups
from storage.delta_tables import DeltaTables
from storage.errors import (
    CommitConflictError,
    UnitWithdrawnError,
    UnknownTableError,
    UnknownVersionError,
    VersionGoneError,
)
from storage.log_transactions import transaction_versions
from storage.objects import ObjectStore
from storage.rewriting import remove_units, replace_files
from storage.rows import check_stored_schema, columns_missing, in_order, rows_to_table
from storage.schemas import TABLES
from storage.session import connect
from storage.unit_lives import RETRACTIONS, current_life, is_committed
from storage.unit_lives import retractions as count_retractions
from storage.units import FinishedUnit

_ATTEMPTS = 20


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
            SecretInAddressError: If it, or the address of the server, has a password in it.
        """
        self._tables = DeltaTables(root, storage_options)
        self.root = self._tables.root
        self.is_local = self._tables.is_local

    @classmethod
    def open(cls, settings_root: str) -> "Lake":
        """Open the lake of a SegMill root: its tables lie in `lake/`."""
        return cls(f"{settings_root.rstrip('/')}/lake")

    def life(self, unit_id: str) -> int | None:
        """Return what to pass to each commit of a unit that begins now; None if it is finished.

        A unit that is withdrawn meanwhile is then not committed in part: see
        `storage.unit_lives`.
        """
        return self.lives([unit_id])[unit_id]

    def lives(self, unit_ids: Collection[str]) -> dict[str, int | None]:
        """Return what `life` says of several units."""
        units = self._tables.open("units")
        known = transaction_versions(self.objects, "units", units, unit_ids) if units else {}
        versions = {unit_id: known.get(unit_id) for unit_id in unit_ids}
        return {
            unit_id: None if is_committed(version) else current_life(version, None)
            for unit_id, version in versions.items()
        }

    def append(
        self,
        table: str,
        rows: Sequence[Mapping[str, Any]] | pa.Table,
        unit_id: str,
        life: int | None = None,
        retractions: int | None = None,
    ) -> bool:
        """Commit rows to a table in the name of a unit of work, exactly once.

        Of two writers that commit the same unit at once one wins, the other reads that back.

        Args:
            table: Name of the table.
            rows: The rows; nullable columns may be left out, and `unit_id` is filled in. No rows
                are a commit as well.
            unit_id: The unit of work.
            life: What `life` returned when the work began; None takes what it is by now, which is
                right only for units that are committed to one table.
            retractions: Of the table `units`, how many retractions it may have seen.

        Returns:
            True if the rows were committed now, False if the unit was in the table already.

        Raises:
            UnknownTableError: If the lake has no such table.
            UnitWithdrawnError: If the unit was withdrawn since `life` was asked, or anything since
                the retractions were counted.
            TableLogLostError: If the table has files, but no log.
            RowsRefusedError: If rows do not fit the table.
            SchemaDriftError: If a column is stored with another type.
            CommitConflictError: If other writers won every attempt.
            ConditionalWritesError: If the object store would let writers overwrite each other.
        """
        lives = None if life is None else {unit_id: life}
        return unit_id in self.append_units(table, {unit_id: rows}, lives, retractions)

    def append_units(
        self,
        table: str,
        rows: Mapping[str, Sequence[Mapping[str, Any]] | pa.Table],
        lives: Mapping[str, int] | None = None,
        retractions: int | None = None,
    ) -> set[str]:
        """Commit rows of several units of work to a table together, each unit exactly once.

        Units that are in the table already are left out; either all others are committed, or none.

        Args:
            table: Name of the table.
            rows: By unit, as `append`.
            lives: By unit, as `append`.
            retractions: As `append`.

        Returns:
            The units that were committed now.

        Raises:
            StorageError: As `append`.
        """
        schema = self._schema(table)
        data = {unit: rows_to_table(table, schema, found, unit) for unit, found in rows.items()}
        if not data:
            return set()
        self._tables.require_conditional_writes()
        stored_for: list[str] = []
        added: list[AddAction] = []
        for attempt in range(_ATTEMPTS):
            stored = self.table_to_write(table)
            versions = transaction_versions(self.objects, table, stored, data)
            due = {unit: self._due(table, unit, versions.get(unit), lives) for unit in data}
            if retractions is not None and count_retractions(stored) != retractions:
                raise UnitWithdrawnError(min(data))
            for unit, version in versions.items():
                if version > due[unit]:
                    raise UnitWithdrawnError(unit)
            pending = [unit for unit in data if versions.get(unit) != due[unit]]
            if not pending:
                return set()
            if withdrawn := [unit for unit in pending if is_committed(versions.get(unit))]:
                # Of an earlier life: they were withdrawn, and their rows are not removed yet.
                remove_units(self, table, {unit: due[unit] - 1 for unit in withdrawn})
                continue
            check_stored_schema(table, stored)
            try:
                if columns_missing(table, stored):
                    self._tables.add_missing_columns(table, stored)
                    continue  # to look again whether the units are there
                if pending != stored_for:
                    together = in_order(pa.concat_tables([data[unit] for unit in pending]))
                    files = data_files(row_groups(together), together.schema)
                    added = [self.store_file(table, file, data_change=True) for file in files]
                    stored_for = pending
                transactions = [Transaction(unit, due[unit]) for unit in pending]
                if retractions is not None:
                    transactions.append(Transaction(RETRACTIONS, retractions))
                self.commit(stored, added, CommitProperties(app_transactions=transactions))
            except CommitFailedError:
                time.sleep(random.uniform(0, min(1.0, 0.01 * 2**attempt)))
            else:
                return set(pending)
        raise CommitConflictError(table, min(data), _ATTEMPTS)

    def _due(
        self, table: str, unit_id: str, version: int | None, lives: Mapping[str, int] | None
    ) -> int:
        if lives is not None:
            return lives[unit_id]
        return current_life(version, self._version_in_units(table, unit_id, version))

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
        device_seconds: float | None = None,
        device: str | None = None,
        dataset: str | None = None,
        life: int | None = None,
        retractions: int | None = None,
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
            device_seconds: How long models held the device, s.
            device: What they computed on: `cpu`, or the name of the accelerator.
            dataset: Dataset that it was done for.
            life: As `append`.
            retractions: As `append`.

        Returns:
            True if it was declared now, False if it was before.

        Raises:
            ValueError: If a unit of stage `segment` does not name its images.
            StorageError: As `append`.
        """
        unit = FinishedUnit(
            stage=stage,
            unit_id=unit_id,
            subject=subject,
            inputs=inputs,
            outputs=outputs,
            run_id=run_id,
            image_ids=tuple(image_ids),
            model_id=model_id,
            params_id=params_id,
            label_set_id=label_set_id,
            device_seconds=device_seconds,
            device=device,
            dataset=dataset,
        )
        lives = None if life is None else {unit_id: life}
        return unit_id in self.commit_units([unit], lives, retractions)

    def commit_units(
        self,
        units: Iterable[FinishedUnit],
        lives: Mapping[str, int] | None = None,
        retractions: int | None = None,
    ) -> set[str]:
        """Declare several units finished, in one commit.

        Args:
            units: The units, whose rows are all committed.
            lives: By unit, as `append`.
            retractions: As `append`.

        Returns:
            Those that were declared now.

        Raises:
            StorageError: As `append`.
        """
        now = datetime.now(UTC)
        rows = {unit.unit_id: [unit.row(now)] for unit in units}
        return self.append_units("units", rows, lives, retractions)

    def has_unit(self, table: str, unit_id: str) -> bool:
        """Tell whether a unit is committed to a table; ask `units` whether it is finished."""
        stored = self.table(table)
        return stored is not None and is_committed(stored.transaction_version(unit_id))

    def unit_version(self, unit_id: str) -> int | None:
        """Return the version of a unit's transaction in `units`; see `storage.unit_lives`."""
        units = self._tables.open("units")
        return None if units is None else units.transaction_version(unit_id)

    def _version_in_units(self, table: str, unit_id: str, version: int | None) -> int | None:
        # A unit that the table has never seen was not withdrawn: a withdrawal marks all tables.
        asked = version is not None and table != "units"
        return self.unit_version(unit_id) if asked else None

    def retractions(self) -> int:
        """Return how many retractions there were."""
        return count_retractions(self._tables.open("units"))

    @property
    def objects(self) -> ObjectStore:
        """The store of the tables' files: `TABLE/NAME` is the key of one."""
        return self._tables.objects

    def commit(
        self, stored: DeltaTable, actions: Sequence[Any], properties: CommitProperties
    ) -> None:
        """Commit files to an opened table; see `DeltaTables.commit`."""
        self._tables.commit(stored, actions, properties)

    def store_file(self, table: str, file: DataFile, *, data_change: bool) -> AddAction:
        """Store a file beside those of a table; it is in the table once a commit adds it.

        Args:
            table: Name of the table.
            file: The file.
            data_change: False if its rows were in the table before, in other files.

        Returns:
            What a commit adds.
        """
        self.objects.write(f"{table}/{file.name}", file.content)
        return file.added(data_change=data_change)

    def append_at(
        self,
        table: str,
        rows: Sequence[Mapping[str, Any]] | pa.Table,
        version: int,
        about: Mapping[str, Any],
    ) -> bool:
        """Commit rows that depend on all that a table holds, if it still is at a version.

        They become the next version. So of two writers that looked at the same version one wins.

        Args:
            table: Name of the table, whose rows belong to no units.
            rows: The rows; nullable columns may be left out.
            version: The version that was looked at, of `table_to_write`.
            about: Facts to note in the table's history.

        Returns:
            False if another writer came in between; nothing is changed then.

        Raises:
            ValueError: If there are no rows.
            StorageError: As `append`.
        """
        data = rows_to_table(table, self._schema(table), rows, "")
        if not data.num_rows:
            raise ValueError("Expected rows to append, but got none")
        self._tables.require_conditional_writes()
        stored = self.table_to_write(table)
        if stored.version() != version:
            return False
        check_stored_schema(table, stored)
        if columns_missing(table, stored):
            self._tables.add_missing_columns(table, stored)
            return False
        files = data_files(row_groups(data), data.schema)
        added = [self.store_file(table, file, data_change=True) for file in files]
        return replace_files(self, table, [], added, about=about, data_change=True, at=version)

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

    def table_to_write(self, table: str) -> DeltaTable:
        """Open a table at its newest version; an empty one is made if it was never written.

        Raises:
            TableLogLostError: If the table has files, but no log.
        """
        return self._tables.open(table) or self._tables.create(table)

    def table(self, table: str, version: int | None = None) -> DeltaTable | None:
        """Open a table at a version, or at its newest; None if it was never written.

        Raises:
            UnknownTableError: If the lake has no such table.
            UnknownVersionError: If the table has no such version yet.
            VersionGoneError: If it had such a version, and its log was cleaned up since.
        """
        self._schema(table)
        newest = self._tables.open(table)
        if version is None or newest is None:
            return newest
        if version > newest.version():
            raise UnknownVersionError(table, version, newest.version())
        try:
            stored = self._tables.open(table, version)
        except DeltaError as error:
            raise VersionGoneError(table, f"version {version}", "its log was cleaned up") from error
        # A table whose log begins later looks like none.
        if stored is None:
            raise VersionGoneError(table, f"version {version}", "its log was cleaned up")
        return stored

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
