"""See whether enough new curated masks have come together to make training worthwhile."""

from dataclasses import dataclass, field
from datetime import datetime

import duckdb
from prefect import task
from prefect.cache_policies import NO_CACHE

from storage.lake import Lake
from storage.queries import named_query
from storage.session import connect
from tasks.data_version import CuratedMark, DataVersion

_TRAININGS = "SELECT data_version FROM training_runs WHERE state = 'completed'"
_CROSSINGS = """
SELECT reviews_version, annotations_until FROM crossings
WHERE dataset = $dataset AND state = 'crossed'
"""
_NOW = """
SELECT
    (SELECT coalesce(max(table_version), 0) FROM reviews),
    (SELECT max(curated_at) FROM curated WHERE dataset = $dataset AND source = 'annotation')
"""


@dataclass(frozen=True)
class CurationSummary:
    """How many curated masks are new, and how many it takes.

    Attributes:
        new: Those that no training has seen, and that did not make an earlier one worthwhile; of
            labels that have enough of them, on images that training takes.
        needed: How many make training worthwhile.
        curated: All curated masks.
        too_few: Labels whose new masks do not count, since training would take too few curated ones
            of them: how many it would.
        held_back: Curated masks on images that training does not take.
    """

    new: int
    needed: int
    curated: int = 0
    too_few: dict[str, int] = field(default_factory=dict)
    held_back: int = 0

    @property
    def ready(self) -> bool:
        """Whether training is worthwhile."""
        return self.new >= self.needed


@task(name="count-curated", cache_policy=NO_CACHE, retries=2, retry_delay_seconds=5)
def count_curated(root: str, dataset: str, needed: int, per_label: int = 0) -> CurationSummary:
    """Count the curated masks that are new since the last training, or since one was due.

    Only those count that training would take: none on an image that is held back in any dataset.

    Args:
        root: The data root.
        dataset: The dataset.
        needed: How many make training worthwhile.
        per_label: How many curated masks a label needs for its new ones to count.
    """
    with connect(Lake.open(root)) as session:
        return count_since(session, dataset, last_mark(session, dataset), needed, per_label)


def count_since(
    session: duckdb.DuckDBPyConnection,
    dataset: str,
    mark: CuratedMark,
    needed: int,
    per_label: int = 0,
) -> CurationSummary:
    """Count as `count_curated`, in an open session, what is new since a mark."""
    rows = session.execute(
        named_query("new_curated"), {"dataset": dataset, **mark.parameters()}
    ).fetchall()
    return CurationSummary(
        new=sum(new for *_, trained, new in rows if trained >= per_label),
        needed=needed,
        curated=sum(curated for _, curated, *_ in rows),
        too_few={label: trained for label, _, trained, new in rows if new and trained < per_label},
        held_back=sum(curated - trained for _, curated, trained, _ in rows),
    )


def last_mark(session: duckdb.DuckDBPyConnection, dataset: str) -> CuratedMark:
    """How far the trainings of a dataset, and the occasions for one, have gone."""
    mark = CuratedMark()
    for (text,) in session.execute(_TRAININGS).fetchall():
        version = DataVersion.from_json(text)
        if version is not None and version.dataset in (dataset, None):
            mark |= version.mark
    for reviews_version, until in session.execute(_CROSSINGS, {"dataset": dataset}).fetchall():
        mark |= CuratedMark(reviews_version, until)
    return mark


def present_mark(session: duckdb.DuckDBPyConnection, dataset: str) -> CuratedMark:
    """How far what is curated of a dataset goes now."""
    row: tuple[int, datetime | None] = session.execute(_NOW, {"dataset": dataset}).fetchall()[0]
    reviews_version, until = row
    return CuratedMark(reviews_version) if until is None else CuratedMark(reviews_version, until)
