"""Addresses without the passwords and tokens that people put into them."""

import re

from storage.errors import SecretInAddressError

_PLAIN = r"[^\s\"'<>?#]"
# User and password, or just a token; in a root of S3 a key and its secret, which may hold slashes.
_USER = re.compile(
    rf"(?<=s3://)(?!arn:)(?:(?![/:]){_PLAIN})+:{_PLAIN}+@|(?<=://)(?:(?!/){_PLAIN})*@"
)
# Tokens and signatures.
_QUERY = re.compile(rf"(?<=://)({_PLAIN}+)\?[^\s\"'<>]+")


def without_secrets(text: str) -> str:
    """Replace user and query of each address in a text by `***`: nobody needs to see them."""
    return _QUERY.sub(r"\1?***", _USER.sub("***@", text))


def require_plain(address: str | None, name: str) -> None:
    """Refuse an address with a user or a password in it: messages and tables would show it.

    Args:
        address: An address, a path, or nothing.
        name: What it was given as, for the message.

    Raises:
        SecretInAddressError: If it has one. The message does not show it.
    """
    if address and _USER.search(address):
        raise SecretInAddressError(name, without_secrets(address))
