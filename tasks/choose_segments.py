"""Which segments a person means: by their ids, by the beginnings of these, or by a condition."""

from collections.abc import Sequence

from storage.lake import Lake
from storage.session import connect, read_only_query

_SECONDS = 300.0
_LEAST_LETTERS = 6
_BEGINNING_WITH = """
SELECT name, list(DISTINCT segment_id ORDER BY segment_id)[:3]
FROM (SELECT unnest($names::VARCHAR[]) AS name)
JOIN segments ON starts_with(segment_id, name)
GROUP BY name
"""
_EXACT = """
SELECT DISTINCT segment_id FROM segments WHERE list_contains($names::VARCHAR[], segment_id)
"""


class NoSuchSegmentError(LookupError):
    """Names of segments that name none, or several."""


def segments_named(lake: Lake, names: Sequence[str]) -> list[str]:
    """The ids of segments that are named by their ids, or by beginnings that only they have.

    Args:
        lake: The tables.
        names: Ids or their beginnings, of at least six letters.

    Returns:
        The ids, in order, each once.

    Raises:
        NoSuchSegmentError: If a name is that of no segment, or of several; all such are told.
    """
    wanted = list(dict.fromkeys(names))
    with connect(lake) as session:
        whole = {name for (name,) in session.execute(_EXACT, {"names": wanted}).fetchall()}
        rest = [name for name in wanted if name not in whole and len(name) >= _LEAST_LETTERS]
        # It reads all ids, which is not needed where they are given in full.
        begun = dict(session.execute(_BEGINNING_WITH, {"names": rest}).fetchall()) if rest else {}
    found: list[str] = []
    problems = []
    for name in wanted:
        matching = [name] if name in whole else begun.get(name, [])
        if len(matching) == 1:
            found += matching
        elif matching:
            problems.append(f"several segments begin with {name!r}: {', '.join(matching)}")
        else:
            problems.append(f"no such segment: {name[:80]!r}")
    if problems:
        raise NoSuchSegmentError("; ".join(problems))
    return list(dict.fromkeys(found))


def segments_where(lake: Lake, condition: str) -> list[str]:
    """The ids of the segments that fulfil a condition, sorted.

    Args:
        lake: The tables.
        condition: SQL on the columns of the table `segments`; it can read the tables and no more.

    Raises:
        StorageError: As `read_only_query`.
        duckdb.Error: If the SQL is wrong.
    """
    # A comment at the end of it must not reach what follows.
    sql = f"SELECT DISTINCT segment_id FROM segments WHERE (\n{condition}\n) ORDER BY segment_id"
    found = read_only_query(lake, sql, timeout_seconds=_SECONDS)
    return [str(segment_id) for segment_id in found.column("segment_id").to_pylist()]
