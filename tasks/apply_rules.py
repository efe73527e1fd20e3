"""Let rules decide about the segments that no person has decided about."""

import json
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from prefect import task
from prefect.cache_policies import NO_CACHE

from storage.errors import CommitConflictError
from storage.lake import Lake
from storage.queries import named_query
from storage.schemas.curation import RULES_PREFIX
from storage.session import connect, live_dataset
from tasks.curation_rules import CurationRules, check_labels, load_rules
from vision.clip import load_label_set

_ATTEMPTS = 10


@dataclass(frozen=True)
class RulesSummary:
    """What rules decided; in a dry run, what they would.

    Attributes:
        reviewer: As whom: `rules:` with a hash of the rules.
        accepted: Segments that are accepted now, by label.
        reopened: Segments that rules had accepted and no longer do, by label.
        dry_run: Whether nothing was recorded.
    """

    reviewer: str
    accepted: dict[str, int] = field(default_factory=dict)
    reopened: dict[str, int] = field(default_factory=dict)
    dry_run: bool = False

    @property
    def decisions(self) -> int:
        """How many in all."""
        return sum(self.accepted.values()) + sum(self.reopened.values())


@task(name="read-rules", cache_policy=NO_CACHE)
def read_rules(name_or_path: str, label_set: str) -> CurationRules:
    """Read rules and compare them with the label set that segments are named with.

    Args:
        name_or_path: As `load_rules`.
        label_set: As `load_label_set`.

    Raises:
        CurationRulesError: If they cannot be read, or are for other labels.
        LabelSetError: If the label set cannot be read.
    """
    rules = load_rules(name_or_path)
    check_labels(rules, load_label_set(label_set).names)
    return rules


@task(name="apply-rules", cache_policy=NO_CACHE, retries=2, retry_delay_seconds=5)
def apply_rules(
    root: str, dataset: str, rules: CurationRules, *, dry_run: bool = False
) -> RulesSummary:
    """Accept the segments that fit, and reopen those that rules had accepted and that do not.

    All is recorded in one commit. What a person decided stays as it is, whether it came before or
    comes after. Done again, nothing is decided twice.

    Args:
        root: The data root.
        dataset: The dataset; images that another one brought first are left to that one's rules.
        rules: The rules.
        dry_run: Say what would be decided; record nothing.

    Raises:
        CommitConflictError: If other writers won every attempt.
    """
    lake = Lake.open(root)
    for _ in range(_ATTEMPTS):
        version = lake.version("reviews")
        found = _decide(lake, dataset, rules, version)
        recorded = found if dry_run else _record(lake, rules, found, version or 0)
        if recorded is not None:
            return RulesSummary(
                rules.reviewer, _counts(recorded, "accept"), _counts(recorded, "reopen"), dry_run
            )
    raise CommitConflictError("reviews", rules.reviewer, _ATTEMPTS)


def _decide(lake: Lake, dataset: str, rules: CurationRules, version: int | None) -> pa.Table:
    parameters = {
        "dataset": dataset,
        "reviewer": rules.reviewer,
        "thresholds": json.dumps(rules.by_label()),
        "max_per_image": rules.max_per_image,
        "annotated_images": rules.annotated_images,
    }
    with connect(lake, {"reviews": version}) as session:
        return session.sql(named_query("rule_decisions"), params=parameters).to_arrow_table()


def _record(lake: Lake, rules: CurationRules, found: pa.Table, version: int) -> pa.Table | None:
    """Commit decisions that were found at a version; None if other rules decided since."""
    about = {"segmill": "rules", "reviewer": rules.reviewer, "rules": rules.model_dump_json()}
    while found.num_rows:
        if lake.append_at("reviews", _rows(rules, found, version + 1), version, about):
            break
        # What people decided meanwhile is left out: to look at all segments again takes longer,
        # and they may go on.
        stored = lake.table_to_write("reviews")
        since = pc.field("table_version") > version
        met = live_dataset(stored).to_table(["segment_id", "reviewer"], filter=since)
        if pc.any(pc.starts_with(met["reviewer"], RULES_PREFIX)).as_py():
            return None
        theirs = pc.is_in(found["segment_id"], met["segment_id"].combine_chunks())
        found, version = found.filter(pc.invert(theirs)), stored.version()
    return found


def _rows(rules: CurationRules, found: pa.Table, table_version: int) -> pa.Table:
    def same(value: Any) -> pa.Array:
        return pa.repeat(pa.scalar(value), found.num_rows)

    return (
        found.drop_columns("segment_label")
        .append_column("version", pc.add(found["based_on"], 1))
        .append_column("table_version", same(table_version))
        .append_column("reviewer", same(rules.reviewer))
        .append_column("decided_at", same(datetime.now(UTC)))
    )


def _counts(found: pa.Table, decision: str) -> dict[str, int]:
    chosen = found.filter(pc.equal(found["decision"], decision))
    return dict(sorted(Counter(chosen["segment_label"].to_pylist()).items()))
