"""Record what people decide about segments: each decision once, and none against an unseen one."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

import pyarrow.compute as pc
from deltalake import DeltaTable

from storage.errors import CommitConflictError
from storage.lake import Lake
from storage.schemas.curation import RULES_PREFIX
from storage.session import live_dataset
from tasks.review_decisions import (
    CheckedDecision,
    Decision,
    ReviewsRefusedError,
    checked_decisions,
)

Outcome = Literal["recorded", "repeated", "stale"]

_ATTEMPTS = 50


@dataclass(frozen=True)
class KnownDecision:
    """A person's decision that is recorded; see `Decision`.

    Attributes:
        version: Its number about this segment, from 1.
    """

    version: int
    decision: str
    label: str | None
    reviewer: str
    decided_at: datetime

    def __str__(self) -> str:
        label = f" as {self.label}" if self.label else ""
        return (
            f"{self.decision}{label} by {self.reviewer} at {self.decided_at:%Y-%m-%d %H:%M} UTC "
            f"(version {self.version})"
        )


@dataclass(frozen=True)
class ReviewResult:
    """What became of a decision.

    Attributes:
        decision: The decision.
        outcome: `recorded`; `repeated`, because it is what its reviewer said last already; or
            `stale`: somebody decided meanwhile, so that nothing was recorded.
        newest: The last decision of a person about the segment; None if there is none.
    """

    decision: Decision
    outcome: Outcome
    newest: KnownDecision | None


class StaleReviewError(ValueError):
    """Somebody decided about the segment since the reviewer looked; nothing was recorded.

    Attributes:
        segment_id: The segment.
        newest: What was decided meanwhile.
    """

    def __init__(self, segment_id: str, newest: KnownDecision | None) -> None:
        self.segment_id = segment_id
        self.newest = newest
        super().__init__(
            f"segment {segment_id} was decided about meanwhile: {newest or 'it was reopened'}; "
            "look again, then decide"
        )


def record_review(lake: Lake, decision: Decision, labels: Collection[str]) -> ReviewResult:
    """Record one decision; see `record_reviews`.

    Raises:
        StaleReviewError: If somebody decided since the reviewer looked.
        ReviewsRefusedError: If it cannot be recorded.
    """
    (result,) = record_reviews(lake, [decision], labels)
    if result.outcome == "stale":
        raise StaleReviewError(decision.segment_id, result.newest)
    return result


def record_reviews(
    lake: Lake, decisions: Sequence[Decision], labels: Collection[str], *, dry_run: bool = False
) -> list[ReviewResult]:
    """Record decisions about different segments, in one commit.

    Stale ones are left out. Of two that are based on the same version one is recorded, even if they
    come at the same time.

    Args:
        lake: The tables.
        decisions: What was decided.
        labels: The labels that may be given.
        dry_run: Say what would become of them; record nothing.

    Returns:
        What became of each, in order.

    Raises:
        ReviewsRefusedError: If one of them makes no sense; then none is recorded.
        CommitConflictError: If other writers won every attempt.
    """
    checked = checked_decisions(lake, decisions, labels)
    if not checked:
        return []
    for _ in range(_ATTEMPTS):
        stored = lake.table("reviews") if dry_run else lake.table_to_write("reviews")
        results, rows = _compared(stored, checked)
        if dry_run or stored is None or not rows:
            return results
        about = {"segmill": "review", "decisions": len(rows)}
        if lake.append_at("reviews", rows, stored.version(), about):
            return results
    raise CommitConflictError("reviews", checked[0].decision.decision_id, _ATTEMPTS)


def _compared(
    stored: DeltaTable | None, checked: Sequence[CheckedDecision]
) -> tuple[list[ReviewResult], list[dict[str, Any]]]:
    """Compare decisions with those in a version of the table; also the rows that are new."""
    known = _known_rows(stored, checked)
    by_id = {row["review_id"]: row for row in known}
    newest: dict[str, dict[str, Any]] = {}
    for row in sorted(known, key=lambda row: row["version"]):
        if not row["reviewer"].startswith(RULES_PREFIX):
            newest[row["segment_id"]] = row
    results, rows, problems = [], [], {}
    now = datetime.now(UTC)
    table_version = 1 + (0 if stored is None else stored.version())
    for place, item in enumerate(checked):
        decision, last = item.decision, newest.get(item.decision.segment_id)
        version = last["version"] if last else 0
        same = by_id.get(decision.decision_id)
        if same is not None and _content(same) != item.content:
            problems[place] = f"the id {decision.decision_id!r} was given to another decision"
        elif same is not None or _says_nothing_new(item, last):
            results.append(ReviewResult(decision, "repeated", _known(last)))
        elif decision.based_on not in (None, version):
            results.append(ReviewResult(decision, "stale", _known(last)))
        else:
            row = {
                "review_id": decision.decision_id,
                "segment_id": decision.segment_id,
                "image_id": item.image_id,
                "decision": decision.decision,
                "label": decision.label,
                "reviewer": decision.reviewer,
                "decided_at": now,
                "version": version + 1,
                "based_on": decision.based_on,
                "table_version": table_version,
                "area_px": item.area_px,
                "rle": item.rle,
            }
            rows.append(row)
            results.append(ReviewResult(decision, "recorded", _known(row)))
    if problems:
        raise ReviewsRefusedError(problems)
    return results, rows


def _says_nothing_new(item: CheckedDecision, last: Mapping[str, Any] | None) -> bool:
    if last is None or last["decision"] == "reopen":
        return item.decision.decision == "reopen"
    return _content(last) == item.content


def _content(row: Mapping[str, Any]) -> tuple[str | None, ...]:
    return tuple(row[name] for name in ("segment_id", "decision", "label", "reviewer", "rle"))


def _known(row: Mapping[str, Any] | None) -> KnownDecision | None:
    if row is None:
        return None
    names = ("version", "decision", "label", "reviewer", "decided_at")
    return KnownDecision(*(row[name] for name in names))


def _known_rows(
    stored: DeltaTable | None, checked: Sequence[CheckedDecision]
) -> list[dict[str, Any]]:
    """Rows about these segments, and rows with these ids."""
    if stored is None:
        return []
    segment_ids = [item.decision.segment_id for item in checked]
    review_ids = [item.decision.decision_id for item in checked]
    wanted = pc.field("segment_id").isin(segment_ids) | pc.field("review_id").isin(review_ids)
    # Only this table is opened, and only at the version that is committed to.
    rows: list[dict[str, Any]] = live_dataset(stored).to_table(filter=wanted).to_pylist()
    return rows
