"""Every table of the lake with its explicit schema; each column says its meaning and unit."""

import pyarrow as pa

from storage.schemas.curation import CROSSINGS, CURATED, DECISIONS, NEWEST_CUTS, REVIEWS
from storage.schemas.fields import MASK_CONVENTION
from storage.schemas.images import ANNOTATIONS, IMAGES
from storage.schemas.models import (
    EVALUATIONS,
    GATE_DECISIONS,
    MODELS,
    PROMOTIONS,
    TRAINING_RUNS,
)
from storage.schemas.segments import IMAGE_LABELS, LABEL_STATS, SEGMENTS
from storage.schemas.work import DROPS, QUARANTINE, UNITS

SCHEMA_VERSION = 1
"""Part of every unit's id: raised when old rows must be made anew."""

TABLES: dict[str, pa.Schema] = {
    "drops": DROPS,
    "images": IMAGES,
    "annotations": ANNOTATIONS,
    "segments": SEGMENTS,
    "image_labels": IMAGE_LABELS,
    "reviews": REVIEWS,
    "crossings": CROSSINGS,
    "label_stats": LABEL_STATS,
    "models": MODELS,
    "promotions": PROMOTIONS,
    "gate_decisions": GATE_DECISIONS,
    "training_runs": TRAINING_RUNS,
    "evaluations": EVALUATIONS,
    "quarantine": QUARANTINE,
    "units": UNITS,
}

VIEWS: dict[str, pa.Schema] = {
    "decisions": DECISIONS,
    "curated": CURATED,
    "newest_cuts": NEWEST_CUTS,
}
"""What a session shows beside the tables, as the queries of these names say."""

UNIT_TABLES = frozenset(
    name for name, schema in TABLES.items() if name != "units" and "unit_id" in schema.names
)
"""Tables whose rows count only when the unit that wrote them is in `units`."""

__all__ = ["MASK_CONVENTION", "SCHEMA_VERSION", "TABLES", "UNIT_TABLES", "VIEWS"]
