"""What the gate found, whether a candidate passed or not."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from storage.checked_rows import read_checked

if TYPE_CHECKING:
    from storage.lake import Lake

Verdict = Literal["promote", "refuse"]


@dataclass(frozen=True)
class RuleResult:
    """What one rule of the gate found.

    Attributes:
        metric: The number that it is about; empty for what is about the measurements themselves.
        rule: What the rule asks for: `improve`, `hold` or `comparable`.
        passed: Whether it is so.
        candidate: Mean of the candidate; None where there is none.
        live: Mean of the live model.
        gain: By how much the candidate is better; below 0, worse.
        low: Lower end of the confidence interval of the gain.
        high: Upper end of it.
        images: On how many images.
        words: All of this in a sentence.
    """

    metric: str
    rule: str
    passed: bool
    candidate: float | None
    live: float | None
    gain: float | None
    low: float | None
    high: float | None
    images: int
    words: str


@dataclass(frozen=True)
class GateDecision:
    """What the gate found of a candidate beside the live model.

    Attributes:
        decision_id: Hash of what was decided on; empty until it is stored.
        verdict: Whether the candidate may become live.
        candidate_id: The candidate.
        live_id: The model that is live.
        candidate_evaluation_id: Measurement of the candidate.
        live_evaluation_id: Measurement of the live model.
        rules: What each rule found.
        gate: The gate's configuration, as JSON values.
    """

    decision_id: str
    verdict: Verdict
    candidate_id: str
    live_id: str
    candidate_evaluation_id: str
    live_evaluation_id: str
    rules: tuple[RuleResult, ...]
    gate: Mapping[str, Any]


def store_decision(
    lake: "Lake",
    decision: GateDecision,
    after: int,
    decided_by: str | None = None,
    run_id: str | None = None,
) -> GateDecision:
    """Store a decision; the same one of the same measurements is stored once.

    Args:
        lake: The tables.
        decision: What was found.
        after: Number of the promotion that was the last one then.
        decided_by: Account and machine that asked.
        run_id: The run that asked.

    Returns:
        The decision with its id.

    Raises:
        StorageError: As `Lake.append`.
    """
    content = json.dumps([after, asdict(replace(decision, decision_id=""))], sort_keys=True)
    decision_id = hashlib.sha256(content.encode()).hexdigest()
    row = {
        "decision_id": decision_id,
        "verdict": decision.verdict,
        "candidate_id": decision.candidate_id,
        "live_id": decision.live_id,
        "candidate_evaluation_id": decision.candidate_evaluation_id,
        "live_evaluation_id": decision.live_evaluation_id,
        "rules": [asdict(rule) for rule in decision.rules],
        "gate": json.dumps(decision.gate, sort_keys=True),
        "decided_by": decided_by,
        "run_id": run_id,
        "decided_at": datetime.now(UTC),
    }
    lake.append("gate_decisions", [row], f"decision-{decision_id}")
    return replace(decision, decision_id=decision_id)


def read_decisions(lake: "Lake", candidate_id: str | None = None) -> Sequence[GateDecision]:
    """Read all decisions, or those about a model; the oldest first.

    Raises:
        DamagedFileError: If the table is damaged.
    """
    rows = sorted(read_checked(lake, "gate_decisions"), key=lambda row: row["decided_at"])
    return [
        GateDecision(
            decision_id=row["decision_id"],
            verdict=row["verdict"],
            candidate_id=row["candidate_id"],
            live_id=row["live_id"],
            candidate_evaluation_id=row["candidate_evaluation_id"],
            live_evaluation_id=row["live_evaluation_id"],
            rules=tuple(RuleResult(**rule) for rule in row["rules"]),
            gate=json.loads(row["gate"]),
        )
        for row in rows
        if candidate_id in (None, row["candidate_id"])
    ]
