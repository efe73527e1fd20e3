"""Everything that storage raises on purpose.

StorageError
├── ObjectNotFoundError         no object under this key
├── ObjectUnreadableError       the store has the object, but does not give it
├── StoreRefusedError           the store does not answer, or not to these credentials
├── UnsafeKeyError              the key could leave the root
├── UnsupportedRootError        the root is neither a folder nor in S3
├── SecretInAddressError        an address has a password in it
├── ConditionalWritesError      the store ignores "create only if absent"
├── LakePathError               the folder cannot hold Delta tables
├── UnknownTableError           no such table in the lake
├── UnknownVersionError         the table has no such version yet
├── VersionGoneError            the table had such a version, but can no longer be read at it
├── AsOfError                   an `as of` names neither a version nor a time that is past
├── RowsRefusedError            rows do not fit the table's schema
├── SchemaDriftError            a stored column has another type
├── CommitConflictError         other writers won every attempt
├── DamagedFileError            a file of a table is missing, or not what was written
├── UnknownProvenanceError      nothing was made by what a retraction names
├── UnknownModelError           no model of this id is registered
├── AmbiguousModelError         several models have ids that begin like this
├── WeightsRefusedError         a file that should be registered is no safetensors
├── ModelTooLargeError          a model is larger than this machine takes
├── DamagedModelError           a file of a stored model is missing, or not what was stored
├── PromotionConflictError      another model became live since it was decided
├── NothingToRollBackError      no promotion stands that could be taken back
├── UnknownEvaluationError      no measurement of this id, or none of a model
├── QueryRefusedError           the SQL does more than read
├── QueryParametersError        the SQL names other $parameters than there are values
├── QueryTimeoutError           the SQL ran past its time limit
├── QueryResultTooLargeError    the SQL answers with more than fits
├── UnknownColumnError          a newer version of the program wrote the column
├── UnknownQueryError           no named query of this name
├── NotificationError           a message of the queue is no event notification
└── QueueError                  the queue cannot be used
"""

from collections.abc import Iterable, Sequence
from datetime import datetime


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


class StoreRefusedError(StorageError):
    """The store does not answer, or refuses whatever is asked: nothing is wrong with one object.

    Attributes:
        found: What is wrong.
        do: What to do about it.
    """

    def __init__(self, root: str, found: str, do: str) -> None:
        self.root = root
        self.found = found
        self.do = do
        super().__init__(f"{root}: {found}; {do}")


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


class SecretInAddressError(StorageError, ValueError):
    """An address has a user or a password in it, which messages and tables would show."""

    def __init__(self, name: str, shown: str) -> None:
        self.name = name
        super().__init__(
            f"{name} has a user or a password in it ({shown}), which messages and tables would "
            "show: take it out. Of S3 they belong in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, "
            "or in a profile"
        )


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
    """A table has no such version yet."""

    def __init__(self, table: str, version: int, newest: int) -> None:
        self.table = table
        self.version = version
        super().__init__(f"Table {table!r} has no version {version}; its newest is {newest}")


class VersionGoneError(StorageError, LookupError):
    """A table had such a version, but its log or its files were cleaned up since."""

    def __init__(self, table: str, asked: str, reason: str) -> None:
        self.table = table
        super().__init__(
            f"Table {table!r} can no longer be read at {asked}: {reason}; ask for a later one"
        )


class AsOfError(StorageError, ValueError):
    """What should name a version or a time that is past names neither."""


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
        super().__init__(
            f"Column {table}.{column} should be {expected}, but is stored as {stored}; "
            "use the version of SegMill that wrote it, or read an older version of the table"
        )


class CommitConflictError(StorageError):
    """Other writers were faster in every attempt to commit."""

    def __init__(self, table: str, unit_id: str, attempts: int) -> None:
        self.table = table
        self.unit_id = unit_id
        super().__init__(
            f"Could not commit unit {unit_id} to {table!r} in {attempts} attempts: "
            "too many writers at once; run the same command again"
        )


class UnitWithdrawnError(StorageError):
    """Work was withdrawn by a retraction while it was under way."""

    def __init__(self, unit_id: str) -> None:
        self.unit_id = unit_id
        super().__init__(
            f"Unit {unit_id} was withdrawn by a retraction while it was under way, "
            "and is not stored; run the same command again to do it anew"
        )


class TableLogLostError(StorageError):
    """A table's files are there, but not the log that says which of them count."""

    def __init__(self, table: str, uri: str) -> None:
        self.table = table
        self.uri = uri
        super().__init__(
            f"Table {table!r} has Parquet files, but no log: {uri}/_delta_log is missing; put it "
            "back from a backup or from the bucket's older versions, or move the files away"
        )


class DamagedFileError(StorageError):
    """A file of a table is missing, or holds other bytes than were written."""

    def __init__(self, table: str, uri: str, reason: str) -> None:
        self.table = table
        self.uri = uri
        self.reason = reason
        super().__init__(
            f"Damaged file of table {table!r}: {uri}: {reason}; "
            "put the file back from a backup or from the bucket's older versions"
        )


class UnreadableTableError(StorageError):
    """A query could not read a file of a table."""

    def __init__(self, table: str, reason: str) -> None:
        self.table = table
        self.reason = reason
        super().__init__(
            f"Table {table!r} cannot be read: {reason}; run it again, and if it stays so, "
            "segmill verify says which files are damaged"
        )


class UnknownProvenanceError(StorageError, LookupError):
    """No finished unit of work was made by what a retraction names."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        self.kind = kind
        self.name = name
        names = sorted(known)
        shown = ", ".join(names[-10:]) + (f" and {len(names) - 10} older" if names[10:] else "")
        super().__init__(
            f"Nothing in the tables comes from {kind} {name!r}; "
            + (f"expected one of {shown}" if names else f"they name no {kind} at all")
        )


class UnknownModelError(StorageError, LookupError):
    """No model of this id is registered."""

    def __init__(self, model: str, near: Sequence[str], known: int) -> None:
        self.model = model
        if near:
            hint = f"did you mean {' or '.join(near)}?"
        elif known:
            hint = f"segmill models list names the {known} that are"
        else:
            hint = "none is; segmill models register takes one in"
        super().__init__(f"No model {model!r} is registered; {hint}")


class AmbiguousModelError(StorageError, LookupError):
    """Several models have ids that begin like this."""

    def __init__(self, model: str, found: Sequence[str]) -> None:
        self.model = model
        super().__init__(
            f"{model!r} is the beginning of {len(found)} models: {', '.join(found[:5])}"
            f"{', …' if found[5:] else ''}; give more of the id"
        )


class WeightsRefusedError(StorageError, ValueError):
    """A file that should be registered is no safetensors."""

    def __init__(self, path: str, reason: str) -> None:
        self.path = path
        super().__init__(
            f"{path} is not registered: {reason}; expected a .safetensors file "
            "(segmill models pull makes one of a checkpoint)"
        )


class ModelTooLargeError(StorageError):
    """A model is larger than this machine takes."""

    def __init__(self, model: str, size_bytes: int, most_bytes: int) -> None:
        self.model = model
        super().__init__(
            f"Model {model} has {size_bytes:,} bytes, but at most {most_bytes:,} are taken "
            "(SEGMILL_MAX_MODEL_BYTES)"
        )


class DamagedModelError(StorageError):
    """A file of a stored model is missing, or holds other bytes than were stored."""

    def __init__(self, model: str, uri: str, reason: str) -> None:
        self.model = model
        self.uri = uri
        super().__init__(
            f"Damaged model {model}: {uri}: {reason}; delete what is left of that file and put it "
            "back from a backup or the bucket's older versions, or register the weights again"
        )


class PromotionConflictError(StorageError):
    """Another model became live since it was decided which one should."""

    def __init__(
        self, model: str, expected: str, live: str, by: str | None, at: datetime | None
    ) -> None:
        self.model = model
        self.live = live
        who = f" by {by}" if by else ""
        when = f" at {at:%FT%TZ}" if at else ""
        super().__init__(
            f"{model} is not promoted: that was decided while {expected} was live, but {live} "
            f"became live{who}{when}; decide again"
        )


class NothingToRollBackError(StorageError, LookupError):
    """No promotion stands that could be taken back."""

    def __init__(self, live: str) -> None:
        self.live = live
        super().__init__(f"{live} is the first live model: there is nothing to roll back to")


class UnknownEvaluationError(StorageError, LookupError):
    """No measurement of this id is stored, or none of a model."""


class QueryRefusedError(StorageError, ValueError):
    """The SQL is not one statement that only reads."""


class QueryParametersError(StorageError, ValueError):
    """The values that were given are not those that the SQL asks for by `$name`."""

    def __init__(self, missing: Iterable[str], unused: Iterable[str], named: Iterable[str]) -> None:
        self.missing = sorted(missing)
        self.unused = sorted(unused)
        names = ", ".join(f"${name}" for name in sorted(named)) or "none"
        parts = [f"${name} has no value" for name in self.missing]
        parts += [f"a value for ${name} is not used" for name in self.unused]
        super().__init__(f"{'; '.join(parts)}. The parameters of this SQL: {names}")


class QueryTimeoutError(StorageError, TimeoutError):
    """The SQL ran past its time limit and was stopped."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        super().__init__(
            f"The query was stopped after {seconds:g} s; ask for less, or allow it more time"
        )


class QueryResultTooLargeError(StorageError):
    """The SQL answers with more than is held in memory."""

    def __init__(self, most_bytes: int) -> None:
        self.most_bytes = most_bytes
        super().__init__(
            f"The answer has more than {most_bytes / 2**20:,.0f} MiB; add a LIMIT, choose columns, "
            "or read the tables with another program (segmill open)"
        )


class UnknownColumnError(StorageError, LookupError):
    """A column is stored that this version of the program does not know."""

    def __init__(self, table: str, column: str) -> None:
        self.table = table
        self.column = column
        super().__init__(
            f"Column {column!r} of table {table!r} was written by a newer version of SegMill, "
            "and this one does not know it: upgrade, or leave it out"
        )


class UnknownQueryError(StorageError, KeyError):
    """No named query of this name is shipped."""

    def __init__(self, name: str, known: Iterable[str]) -> None:
        self.name = name
        self.message = f"Unknown query {name!r}; expected one of {', '.join(sorted(known))}"
        super().__init__(self.message)

    def __str__(self) -> str:
        return self.message


class NotificationError(StorageError, ValueError):
    """A message of the queue is no event notification of S3."""


class QueueError(StorageError):
    """The queue of SEGMILL_SQS_QUEUE_URL cannot be used."""

    def __init__(self, url: str, reason: str) -> None:
        self.url = url
        self.reason = reason
        super().__init__(f"queue {url} (SEGMILL_SQS_QUEUE_URL): {reason}")
