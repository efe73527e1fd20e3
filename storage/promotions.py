"""Which model is live: a log of promotions, each of which is one commit after the one before it.

The number of a promotion is part of the name of its application transaction. So of two that were
decided while the same model was live, one is committed; the other reads back who won.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from storage.checked_rows import read_checked
from storage.errors import DamagedFileError, PromotionConflictError

if TYPE_CHECKING:
    from storage.lake import Lake

Reason = Literal["gate", "rollback", "by hand"]


@dataclass(frozen=True)
class Why:
    """Why a model becomes live, and who says so.

    Attributes:
        reason: `gate`: it was better; `rollback`: the one after it is taken back; `by hand`.
        note: What the person who decided says of it.
        evaluation_id: The measurement of it that allowed it.
        decision_id: What the gate found.
        promoted_by: Account and machine.
        run_id: The run that did it.
    """

    reason: Reason
    note: str | None = None
    evaluation_id: str | None = None
    decision_id: str | None = None
    promoted_by: str | None = None
    run_id: str | None = None


@dataclass(frozen=True)
class Promotion:
    """One change of the live model.

    Attributes:
        number: Which change it is, from 1.
        promotion_id: Its id.
        model_id: The model that became live.
        previous_id: The model that was live before.
        why: Why, and who says so.
        promoted_at: When, UTC.
    """

    number: int
    promotion_id: str
    model_id: str
    previous_id: str | None
    why: Why
    promoted_at: datetime


def read_promotions(lake: "Lake") -> list[Promotion]:
    """Read all promotions, the first one first; the model of the last one is live.

    Raises:
        DamagedFileError: If one is lost, or is not as it was written.
        SchemaDriftError: If a column is stored with another type.
    """
    rows = read_checked(lake, "promotions")
    # Those without a number come before all that have one.
    rows.sort(key=lambda row: (row["number"] or 0, row["promoted_at"]))
    for number, row in enumerate(rows, start=1):
        if row["number"] not in (None, number):
            reason = f"promotion {number} is missing, but {row['number']} is there"
            raise DamagedFileError("promotions", lake.objects.uri("promotions"), reason)
    return [_promotion(number, row) for number, row in enumerate(rows, start=1)]


def standing_promotions(promotions: Sequence[Promotion]) -> list[Promotion]:
    """Leave out the promotions that were rolled back, and the rollbacks.

    The model of the last one that is left is live; to roll back makes that of the one before it
    live. So a second rollback goes further back, not forth again.
    """
    standing: list[Promotion] = []
    for promotion in promotions:
        if promotion.why.reason == "rollback" and standing:
            standing.pop()
        else:
            standing.append(promotion)
    return standing


def record_promotion(
    lake: "Lake", after: int, model_id: str, previous_id: str, why: Why
) -> Promotion:
    """Make a model live, in one commit, if no other became live since it was decided.

    Args:
        lake: The tables.
        after: Number of the promotion that was the last one when it was decided; 0 for none.
        model_id: The model that becomes live.
        previous_id: The model that was live when it was decided.
        why: Why, and who says so.

    Raises:
        PromotionConflictError: If another model became live since; nothing is changed then.
        StorageError: As `Lake.append`.
    """
    promotion = Promotion(
        after + 1, uuid.uuid4().hex, model_id, previous_id, why, datetime.now(UTC)
    )
    if lake.append("promotions", [_row(promotion)], f"promotion-{promotion.number}"):
        return promotion
    history = read_promotions(lake)
    if len(history) <= after:
        reason = f"promotion {promotion.number} was committed, but is missing"
        raise DamagedFileError("promotions", lake.objects.uri("promotions"), reason)
    winner = history[after]
    # The commit may have been ours: made, its answer lost, tried again.
    if winner.promotion_id == promotion.promotion_id:
        return promotion
    raise PromotionConflictError(
        model_id,
        previous_id,
        history[-1].model_id,
        winner.why.promoted_by or winner.why.run_id,
        winner.promoted_at,
    )


def _row(promotion: Promotion) -> dict[str, Any]:
    facts = {name: value for name, value in vars(promotion).items() if name != "why"}
    return facts | vars(promotion.why)


def _promotion(number: int, row: dict[str, Any]) -> Promotion:
    why = Why(**{name: row[name] for name in Why.__dataclass_fields__})
    return Promotion(
        number, row["promotion_id"], row["model_id"], row["previous_id"], why, row["promoted_at"]
    )
