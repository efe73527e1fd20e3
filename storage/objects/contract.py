"""What every object store promises."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from storage.errors import ObjectUnreadableError

CHUNK_BYTES = 2**20
"""How much of a large object is in memory at once, about."""


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """One object of a listing.

    Attributes:
        key: Path below the root, with forward slashes.
        size_bytes: Size in bytes.
        modified_at: When it was written, UTC. Of a local file its own word for it, which a copy
            may have from the file that it was made of, and a camera from a wrong clock.
        changed_at: When it came to be as it is in this store, by the store's clock, UTC.
        version: Changes whenever the object is written again: the etag on S3; inode, time and
            size of a local file.
    """

    key: str
    size_bytes: int
    modified_at: datetime
    changed_at: datetime
    version: str


Unreadable = Callable[[ObjectUnreadableError], None]
"""Told of a folder that may not be looked into; the key ends with a slash."""


class ObjectStore(Protocol):
    """Whole objects under keys. Every method raises `UnsafeKeyError` for an unsafe key."""

    @property
    def root(self) -> str:
        """The folder or `s3://` URI below which all keys lie, without a slash at the end."""
        ...

    def read(self, key: str) -> bytes:
        """Return the bytes of an object, or raise `ObjectNotFoundError`."""
        ...

    def write(self, key: str, data: bytes | memoryview) -> None:
        """Store an object durably, replacing an older one; readers see one or the other."""
        ...

    def write_many(self, objects: Iterable[tuple[str, bytes | memoryview]]) -> int:
        """Store many objects as `write` does, faster together; return how many.

        Each object is atomic, the whole is not: after a crash any of them may be missing.
        """
        ...

    def read_chunks(self, key: str) -> Iterator[bytes]:
        """Yield the bytes of an object piece by piece; raises as `read`, with the first piece."""
        ...

    def create(self, key: str, data: bytes | Path) -> bool:
        """Store an object only if there is none; return False if there is one already.

        A `Path` is a local file, of which the object gets the bytes: it is not held in memory.
        """
        ...

    def exists(self, key: str) -> bool:
        """Tell whether an object is stored under the key."""
        ...

    def list(self, prefix: str = "", unreadable: Unreadable | None = None) -> Iterator[ObjectInfo]:
        """Yield the objects whose key starts with the prefix, sorted by the key's UTF-8 bytes.

        A folder that may not be looked into ends the listing with `ObjectUnreadableError`: what is
        left would look whole. With `unreadable` that is told of each, and the listing goes on.
        """
        ...

    def delete(self, key: str) -> None:
        """Remove an object; nothing happens if there is none."""
        ...

    def uri(self, key: str) -> str:
        """Return a path or `s3://` URI that other programs can open."""
        ...

    def local_path(self, key: str) -> Path | None:
        """Return the file of an object, or None in a store that has no files."""
        ...
