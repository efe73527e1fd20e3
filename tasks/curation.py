"""See whether enough new curated masks have come together to make training worthwhile."""

from dataclasses import dataclass

from prefect import task
from prefect.cache_policies import NO_CACHE

from storage.lake import Lake
from storage.session import connect

_NEW_CURATED = """
WITH last_training AS (
    SELECT coalesce(max(started_at), TIMESTAMPTZ 'epoch') AS at FROM training_runs
    WHERE state = 'completed'
)
SELECT
    (SELECT count(*) FROM annotations a SEMI JOIN images i
        ON a.image_id = i.image_id AND i.dataset = $dataset
        AND i.ingested_at > (SELECT at FROM last_training) WHERE NOT a.iscrowd)
    + (SELECT count(DISTINCT r.segment_id) FROM reviews r SEMI JOIN images i
        ON r.image_id = i.image_id AND i.dataset = $dataset
        WHERE r.decision IN ('accept', 'relabel')
        AND r.decided_at > (SELECT at FROM last_training))
"""


@dataclass(frozen=True)
class CurationSummary:
    """How many curated masks are newer than the last training, and how many it takes."""

    new: int
    needed: int

    @property
    def ready(self) -> bool:
        """Whether training is worthwhile."""
        return self.new >= self.needed


@task(name="count-curated", cache_policy=NO_CACHE)
def count_curated(root: str, dataset: str, needed: int) -> CurationSummary:
    """Count annotations and accepted segments that no training has seen.

    Args:
        root: The data root.
        dataset: The dataset.
        needed: How many make training worthwhile.
    """
    with connect(Lake.open(root)) as session:
        row = session.execute(_NEW_CURATED, {"dataset": dataset}).fetchone()
    return CurationSummary(int(row[0]) if row else 0, needed)
