"""Objects under keys: files below a local folder, or objects of a bucket below a prefix."""

from storage.addresses import require_plain
from storage.errors import ObjectNotFoundError, UnsafeKeyError, UnsupportedRootError
from storage.objects.contract import ObjectInfo, ObjectStore
from storage.objects.local import LocalStore
from storage.settings import get_settings

__all__ = [
    "LocalStore",
    "ObjectInfo",
    "ObjectNotFoundError",
    "ObjectStore",
    "UnsafeKeyError",
    "open_store",
]


def open_store(root: str) -> ObjectStore:
    """Open the object store of a root.

    Args:
        root: A local folder, or `s3://bucket/prefix`.

    Raises:
        UnsupportedRootError: If the root is a URI of another kind, or names no bucket.
        SecretInAddressError: If it, or the address of the server, has a password in it.
    """
    require_plain(root, "the root")
    scheme, separator, rest = root.partition("://")
    if not separator:
        return LocalStore(root)
    bucket, _, prefix = rest.partition("/")
    if scheme != "s3" or not bucket:
        raise UnsupportedRootError(root)
    # boto3 takes a fifth of a second to import, and most roots are folders.
    from storage.objects.s3 import S3Store

    return S3Store(bucket, prefix, endpoint_url=get_settings().s3_endpoint)
