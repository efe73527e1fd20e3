"""Everything that storage raises on purpose.

StorageError
├── ObjectNotFoundError         no object under this key
├── ObjectUnreadableError       the store has the object, but does not give it
├── UnsafeKeyError              the key could leave the root
├── UnsupportedRootError        the root is neither a folder nor in S3
├── ConditionalWritesError      the store ignores "create only if absent"
├── LakePathError               the folder cannot hold Delta tables
├── UnknownTableError           no such table in the lake
├── UnknownVersionError         the table has no such version, or no longer
├── RowsRefusedError            rows do not fit the table's schema
├── SchemaDriftError            a stored column has another type
├── CommitConflictError         other writers won every attempt
├── QueryRefusedError           the SQL does more than read
├── QueryTimeoutError           the SQL ran past its time limit
└── UnknownQueryError           no named query of this name
"""

from collections.abc import Iterable


class StorageError(Exception):
    """The base of all storage errors."""


class ObjectNotFoundError(StorageError):
    """No object is stored under the key."""

    def __init__(self, key: str, root: str = "") -> None:
        self.key = key
        super().__init__(f"Object not found: {key!r}" + (f" in {root}" if root else ""))


class ObjectUnreadableError(StorageError):
    """The store has the object, but does not give it: access denied, or moved to an archive."""

    def __init__(self, key: str, root: str, reason: str) -> None:
        self.key = key
        self.reason = reason
        super().__init__(f"{root} does not give {key!r}: {reason}")


class UnsafeKeyError(StorageError, ValueError):
    """The key is not a plain relative path below the root."""

    def __init__(self, key: str, reason: str) -> None:
        self.key = key
        self.reason = reason
        super().__init__(f"Unsafe object key {key[:200]!r}: {reason}")


class UnsupportedRootError(StorageError, ValueError):
    """The root is a URI of another kind than `s3://bucket/prefix`, or names no bucket."""

    def __init__(self, root: str) -> None:
        self.root = root
        super().__init__(f"Expected a local folder or s3://bucket/prefix, but got {root!r}")


class ConditionalWritesError(StorageError):
    """The store accepted a second create of one key, so nothing can be written exactly once."""

    def __init__(self, root: str) -> None:
        self.root = root
        super().__init__(
            f"{root} ignores If-None-Match: two writers could overwrite each other's commits. "
            "Use a store that honours conditional writes (Amazon S3, MinIO, Cloudflare R2, ...)."
        )


class LakePathError(StorageError, ValueError):
    """Delta tables cannot be kept in a folder of this name."""

    def __init__(self, root: str, characters: str) -> None:
        self.root = root
        super().__init__(
            f"Delta tables cannot be kept under {root!r}: its path contains {characters!r}; "
            "choose a folder without these characters"
        )


class UnknownTableError(StorageError, KeyError):
    """The lake has no table of this name."""

    def __init__(self, table: str, known: Iterable[str]) -> None:
        self.table = table
        self.message = f"Unknown table {table!r}; expected one of {', '.join(sorted(known))}"
        super().__init__(self.message)

    def __str__(self) -> str:
        return self.message


class UnknownVersionError(StorageError, LookupError):
    """A table has no such version: it is not there yet, or was cleaned up."""

    def __init__(self, table: str, version: int, newest: int) -> None:
        self.table = table
        self.version = version
        super().__init__(f"Table {table!r} has no version {version}; its newest is {newest}")


class RowsRefusedError(StorageError, ValueError):
    """Rows do not fit the table's schema."""

    def __init__(self, table: str, reason: str) -> None:
        self.table = table
        super().__init__(f"Rows refused by table {table!r}: {reason}")


class SchemaDriftError(StorageError):
    """A column is stored with another type than this version of the code writes."""

    def __init__(self, table: str, column: str, stored: str, expected: str) -> None:
        self.table = table
        self.column = column
        super().__init__(f"Column {table}.{column} should be {expected}, but is stored as {stored}")


class CommitConflictError(StorageError):
    """Other writers were faster in every attempt to commit."""

    def __init__(self, table: str, unit_id: str, attempts: int) -> None:
        self.table = table
        self.unit_id = unit_id
        super().__init__(
            f"Could not commit unit {unit_id} to {table!r} in {attempts} attempts: "
            "too many writers at once; run the same command again"
        )


class QueryRefusedError(StorageError, ValueError):
    """The SQL is not one statement that only reads."""


class QueryTimeoutError(StorageError, TimeoutError):
    """The SQL ran past its time limit and was stopped."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        super().__init__(f"The query was stopped after {seconds:g} s")


class UnknownQueryError(StorageError, KeyError):
    """No named query of this name is shipped."""

    def __init__(self, name: str, known: Iterable[str]) -> None:
        self.name = name
        self.message = f"Unknown query {name!r}; expected one of {', '.join(sorted(known))}"
        super().__init__(self.message)

    def __str__(self) -> str:
        return self.message
