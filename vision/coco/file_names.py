"""File names from a JSON file: only plain relative paths are ever looked up."""

import re
import unicodedata
from collections.abc import Iterable
from urllib.parse import unquote

from vision.coco.findings import FindingLog
from vision.coco.json_text import DocumentError

MAX_PATH_BYTES = 1024

# Words joined by single dots and slashes, as nearly all names are, break no rule.
_PLAIN = re.compile(r"[A-Za-z0-9_-]+(?:[./][A-Za-z0-9_-]+)*")
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://|data:", re.IGNORECASE)
_DRIVE = re.compile(r"[A-Za-z]:")
_BIDI = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_LINE_BREAKS = frozenset("\u2028\u2029")
_MAX_ENCODINGS = 4


def broken_path_rule(name: str, local: bool = True) -> str | None:
    """Name the rule that a file name breaks.

    Args:
        name: The file name, as given.
        local: Whether it will be looked up in a file system, where names ending in a dot or a
            space may be changed; in an object store they may not.

    Returns:
        The rule, such as `path.parent`; None for a plain relative path.
    """
    if len(name) <= MAX_PATH_BYTES and _PLAIN.fullmatch(name):
        return None
    if not name or name in (".", "./"):
        return "path.empty"
    if "\0" in name:
        return "path.nul"
    if len(name.encode("utf-8", "surrogatepass")) > MAX_PATH_BYTES:
        return "path.too_long"
    if any(unicodedata.category(c) == "Cc" or c in _BIDI or c in _LINE_BREAKS for c in name):
        return "path.control_character"
    if _URL.match(name):
        return "path.url"
    if _DRIVE.match(name):
        return "path.drive"
    if "\\" in name:
        return "path.backslash"
    if name.startswith("/"):
        return "path.absolute"
    if ".." in name.split("/"):
        return "path.parent"
    if _is_parent_when_unquoted(name):
        return "path.encoded_parent"
    if local and any(part != "." and part.endswith((".", " ")) for part in name.split("/")):
        return "path.trailing"
    return None


def check_distinct(names: Iterable[tuple[str, str]], log: FindingLog) -> None:
    """Refuse names that are, or may become, one file; note those that differ only in case.

    Args:
        names: JSON pointer and name of each file.
        log: Receives the notes.

    Raises:
        DocumentError: Two names are equal, or equal after Unicode normalisation.
    """
    exact: set[str] = set()
    normalised: set[str] = set()
    folded: set[str] = set()
    for pointer, name in names:
        if name in exact:
            raise DocumentError("image.duplicate_file", name, pointer)
        exact.add(name)
        if (composed := unicodedata.normalize("NFC", name)) in normalised:
            raise DocumentError("path.same_when_normalised", name, pointer)
        normalised.add(composed)
        if (lower := composed.casefold()) in folded:
            log.add("path.same_when_lowercased", pointer, name)
        folded.add(lower)


def _is_parent_when_unquoted(name: str) -> bool:
    for _ in range(_MAX_ENCODINGS):
        decoded = unquote(name)
        if decoded == name:
            return False
        name = decoded
        if ".." in re.split(r"[/\\]", name) or name.startswith(("/", "\\")) or "\0" in name:
            return True
    return False
