"""Object keys: plain relative paths with forward slashes that cannot leave the root."""

from storage.errors import UnsafeKeyError

TEMPORARY_PREFIX = ".segmill-tmp-"
"""Files being written carry this name prefix; no listing shows them."""

_MAX_KEY_BYTES = 1024  # the limit of S3


def checked_key(key: str) -> str:
    """Return the key as it is, when it is safe to use below any root.

    Raises:
        UnsafeKeyError: If the key is empty, absolute, too long, contains `..`, `.` or empty
            parts, a backslash, a control character or a lone surrogate.
    """
    if not key:
        raise UnsafeKeyError(key, "it is empty")
    if key.startswith("/") or (len(key) > 1 and key[1] == ":" and key[0].isalpha()):
        raise UnsafeKeyError(key, "it is absolute")
    if "\\" in key:
        raise UnsafeKeyError(key, "it contains a backslash")
    if any(ord(character) < 32 or ord(character) == 127 for character in key):
        raise UnsafeKeyError(key, "it contains a control character")
    parts = key.split("/")
    if any(part in ("", ".", "..") for part in parts):
        raise UnsafeKeyError(key, "it has an empty, '.' or '..' part")
    if any(part.startswith(TEMPORARY_PREFIX) for part in parts):
        raise UnsafeKeyError(key, f"names starting with {TEMPORARY_PREFIX} are for writing")
    try:
        size = len(key.encode())
    except UnicodeEncodeError:
        raise UnsafeKeyError(key, "it is not valid Unicode") from None
    if size > _MAX_KEY_BYTES:
        raise UnsafeKeyError(key, f"it is longer than {_MAX_KEY_BYTES} bytes")
    return key


def printable(text: str) -> str:
    """Text that can be stored and sent: what is no Unicode in the name of a file is escaped.

    Python holds the bytes of a name that is not UTF-8 as lone surrogates, which nothing can encode.
    Everything else is left as it is.
    """
    return text.encode(errors="backslashreplace").decode()


def checked_prefix(prefix: str) -> str:
    """Return the prefix of a listing as it is, when it is safe; the empty one lists all.

    Raises:
        UnsafeKeyError: As `checked_key`; one slash at the end is allowed.
    """
    if prefix:
        checked_key(prefix.removesuffix("/") if len(prefix) > 1 else prefix)
    return prefix
