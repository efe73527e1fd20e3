"""Secrets that nothing else looks like, and the search for them in what programs left behind."""

import base64
import gzip
import hashlib
import io
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path

import pyarrow.parquet as pq

_SQLITE = b"SQLite format 3\0"
_PARQUET, _GZIP = b"PAR1", b"\x1f\x8b"


def canary(name: str) -> str:
    """A secret of letters and digits, which no encoding of addresses changes."""
    return f"Canary{hashlib.sha256(name.encode()).hexdigest()[:24]}"


def found_in(data: bytes, secrets: Iterable[str]) -> set[str]:
    """Which secrets are in some bytes, plainly or in base64; of Parquet and gzip what is inside.

    Args:
        data: Of a file or an answer.
        secrets: What to look for.
    """
    seen = [data]
    if data.startswith(_GZIP):
        seen.append(gzip.decompress(data))
    if data.startswith(_PARQUET):
        rows = pq.read_table(io.BytesIO(data)).to_pylist()
        seen.append(repr(rows).encode())
    if data.startswith(_SQLITE):
        seen += _rows_of(data)
    return {
        secret
        for secret in secrets
        for form in _forms(secret)
        if any(form in part for part in seen)
    }


def found_below(folder: Path, secrets: Iterable[str]) -> list[tuple[str, set[str]]]:
    """The files below a folder that hold secrets, with those."""
    secrets, found = list(secrets), []
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            hits = found_in(path.read_bytes(), secrets)
            if hits:
                found.append((str(path.relative_to(folder)), hits))
    return found


def _forms(secret: str) -> Iterator[bytes]:
    """A secret as it stands, and the middle of its base64, wherever that begins."""
    yield secret.encode()
    for before in range(3):
        coded = base64.b64encode(b"\0" * before + secret.encode())
        yield coded[4 if before else 0 : -4]


def _rows_of(database: bytes) -> list[bytes]:
    """All rows: a long text is cut into pages that need not lie side by side."""
    with closing(sqlite3.connect(":memory:")) as connection:
        # One with a write-ahead log says so in these two bytes, and is not opened in memory.
        connection.deserialize(database[:18] + b"\1\1" + database[20:])
        return ["\n".join(connection.iterdump()).encode(errors="replace")]
