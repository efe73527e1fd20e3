"""Which data a training read: the `data_version` of its row in `training_runs`."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Self

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class CuratedMark:
    """How far what is curated of a dataset goes; what goes beyond it is new.

    Attributes:
        reviews_version: Version of the table `reviews`, 0 if it was never written.
        annotations_until: When the last annotations were stored, by their writer's clock.
    """

    reviews_version: int = 0
    annotations_until: datetime = EPOCH

    def __or__(self, other: "CuratedMark") -> "CuratedMark":
        """What goes as far as both."""
        return CuratedMark(
            max(self.reviews_version, other.reviews_version),
            max(self.annotations_until, other.annotations_until),
        )

    def covers(self, other: "CuratedMark") -> bool:
        """Whether nothing of the other mark goes beyond this one."""
        return self | other == self

    def parameters(self) -> dict[str, Any]:
        """As the named queries take it."""
        return {
            "reviews_version": self.reviews_version,
            "annotations_until": self.annotations_until,
        }


@dataclass(frozen=True)
class DataVersion:
    """Versions of the tables that a training reads.

    Attributes:
        dataset: The dataset; None if all were read.
        tables: By table its version; None of one that was never written.
        annotations_until: When the last annotations were stored.
    """

    dataset: str | None
    tables: Mapping[str, int | None]
    annotations_until: datetime = EPOCH

    @property
    def mark(self) -> CuratedMark:
        """How far what is curated went."""
        return CuratedMark(self.tables.get("reviews") or 0, self.annotations_until)

    def to_json(self) -> str:
        """As `training_runs.data_version` has it."""
        about = {
            "dataset": self.dataset,
            "tables": dict(sorted(self.tables.items())),
            "annotations_until": self.annotations_until.isoformat(),
        }
        return json.dumps(about)

    @classmethod
    def from_json(cls, text: str) -> Self | None:
        """Read what `to_json` wrote; None for a training that read no tables."""
        try:
            about = json.loads(text)
            until = datetime.fromisoformat(about["annotations_until"])
            return cls(about["dataset"], dict(about["tables"]), until)
        except (ValueError, TypeError, KeyError):
            return None
