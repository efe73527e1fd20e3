"""Read the files of a sealed drop: the bytes that were sealed, or none."""

import hashlib

from storage.errors import ObjectNotFoundError, UnsafeKeyError
from storage.objects import ObjectStore
from tasks.seal_drops import DropChangedError, DropFile


def read_sealed(source: ObjectStore, file: DropFile) -> bytes:
    """The bytes of a sealed file.

    Raises:
        DropChangedError: If they are not those that were sealed, or it was deleted, or became a
            link that leads out of the drop.
        ObjectUnreadableError: If the store does not give them any more.
    """
    try:
        data = source.read(file.key)
    except (ObjectNotFoundError, UnsafeKeyError):
        raise DropChangedError(file.key) from None
    if hashlib.sha256(data).hexdigest() != file.sha256:
        raise DropChangedError(file.key)
    return data


def first_bytes(source: ObjectStore, file: DropFile) -> bytes:
    """The first bytes of a sealed file that is too large to be read: a MiB, or all if it has less.

    They are not compared with what was sealed.

    Raises:
        DropChangedError, ObjectUnreadableError: As `read_sealed`.
    """
    try:
        return next(source.read_chunks(file.key), b"")
    except (ObjectNotFoundError, UnsafeKeyError):
        raise DropChangedError(file.key) from None
