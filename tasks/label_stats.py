"""Count what was found: the rows of `label_stats`, computed from committed segments."""

from collections import defaultdict
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE

from storage.lake import Lake
from storage.queries import named_query
from storage.session import connect
from storage.units import unit_id
from tasks.models import ModelChoice
from vision.masks import rle_area, rle_union

# What was segmented before the table of partials was there has none.
_MASKS_WITHOUT_PARTIAL = """
SELECT label, image_id, width_px, height_px, rle
FROM segments JOIN (
    SELECT image_id, any_value(width_px) AS width_px, any_value(height_px) AS height_px
    FROM images WHERE dataset = $dataset GROUP BY image_id
) USING (image_id)
ANTI JOIN image_labels USING (unit_id, image_id, label)
WHERE model_id = $model_id AND params_id = $params_id AND label_set_id = $label_set_id
ORDER BY label, image_id
"""

# An image without a segment is finished too: its statistics are none.
_FINISHED = """
SELECT DISTINCT image_id FROM (
    SELECT unnest(image_ids) AS image_id FROM units
    WHERE stage = 'segment' AND model_id = $model_id AND params_id = $params_id
      AND label_set_id = $label_set_id
) SEMI JOIN (SELECT image_id FROM images WHERE dataset = $dataset) USING (image_id)
"""


@dataclass(frozen=True)
class StatsSummary:
    """How many labels and segments were counted, and whether they had been counted before."""

    labels: int
    segments: int
    already_counted: bool


@task(name="count-labels", cache_policy=NO_CACHE, retries=2, retry_delay_seconds=5)
def count_labels(root: str, dataset: str, choice: ModelChoice, run_id: str) -> StatsSummary:
    """Compute the statistics of all committed segments; does nothing if none is new.

    Args:
        root: The data root.
        dataset: The dataset to count.
        choice: The models whose segments are counted.
        run_id: The run to name in the unit's row.
    """
    lake = Lake.open(root)
    scope = _scope(dataset, choice)
    # Read before the rows, so that it can name too old a version but never too new a one.
    version, retractions = lake.version("segments"), lake.retractions()
    with connect(lake) as session:
        finished = session.execute(_FINISHED, scope).fetchall()
        unit = unit_id(
            "stats", (image_id for (image_id,) in finished), retractions=retractions, **scope
        )
        life = lake.life(unit)
        if version is None or life is None:
            return StatsSummary(0, 0, already_counted=True)
        rows = session.sql(named_query("label_stats"), params=scope).to_arrow_table().to_pylist()
        union_px = _union_areas(
            session.sql(_MASKS_WITHOUT_PARTIAL, params=scope).to_arrow_table().to_pylist()
        )
        for label, area_px in session.execute(named_query("label_unions"), scope).fetchall():
            union_px[label] += area_px
    segments = sum(row["count"] for row in rows)
    for row in rows:
        row["union_area_px"] = union_px[row["label"]]
        row["computed_from"] = version
    lake.append("label_stats", rows, unit, life)
    lake.commit_unit(
        stage="stats",
        unit_id=unit,
        subject=dataset,
        inputs=segments,
        outputs=len(rows),
        run_id=run_id,
        model_id=choice.model_id,
        params_id=choice.params_id,
        label_set_id=choice.label_set_id,
        dataset=dataset,
        life=life,
        retractions=retractions,
    )
    return StatsSummary(len(rows), segments, already_counted=False)


def newest_label_stats(lake: Lake, dataset: str, choice: ModelChoice) -> list[dict[str, Any]]:
    """The newest statistics of a dataset as these models cut and named it, by count.

    Args:
        lake: The tables.
        dataset: The dataset.
        choice: The models.
    """
    with connect(lake) as session:
        rows = session.sql(named_query("latest_label_stats")).to_arrow_table().to_pylist()
    scope = _scope(dataset, choice)
    return [row for row in rows if all(row[name] == value for name, value in scope.items())]


def _scope(dataset: str, choice: ModelChoice) -> dict[str, str]:
    return {
        "dataset": dataset,
        "model_id": choice.model_id,
        "params_id": choice.params_id,
        "label_set_id": choice.label_set_id,
    }


def _union_areas(masks: list[dict[str, Any]]) -> defaultdict[str, int]:
    """Pixels covered by at least one mask of a label, by label; `masks` sorted by label, image."""
    areas: defaultdict[str, int] = defaultdict(int)
    for (label, _), group in groupby(masks, key=lambda row: (row["label"], row["image_id"])):
        of_image = list(group)
        height, width = of_image[0]["height_px"], of_image[0]["width_px"]
        areas[label] += rle_area(rle_union([row["rle"] for row in of_image], height, width))
    return areas
