"""See whether enough new curated masks have come together to make training worthwhile."""

from dataclasses import dataclass

from prefect import task
from prefect.cache_policies import NO_CACHE

from storage.lake import Lake
from storage.session import connect

_NEW_CURATED = """
WITH last_training AS (
    SELECT coalesce(max(started_at), TIMESTAMPTZ 'epoch') AS began
    FROM training_runs WHERE state = 'completed'
),
members AS (
    SELECT image_id, min(ingested_at) AS ingested_at
    FROM images WHERE dataset = $dataset GROUP BY image_id
)
SELECT
    (SELECT count(*) FROM annotations JOIN members USING (image_id)
     WHERE dataset = $dataset AND NOT iscrowd AND ingested_at > (SELECT began FROM last_training))
    + (SELECT count(DISTINCT segment_id) FROM reviews JOIN members USING (image_id)
       WHERE decision IN ('accept', 'relabel')
         AND decided_at > (SELECT began FROM last_training))
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
