"""Make a model live, through the gate or by hand, and take that back."""

import getpass
import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass

from storage.errors import (
    NothingToRollBackError,
    PromotionConflictError,
    UnknownEvaluationError,
)
from storage.evaluations import Evaluation, load_evaluation, read_evaluations
from storage.gate_decisions import GateDecision, store_decision
from storage.model_store import ModelStore
from storage.promotions import (
    Promotion,
    Why,
    read_promotions,
    record_promotion,
    standing_promotions,
)
from tasks.gate import comparable, decide
from tasks.gate_rules import Gate
from tasks.live_model import (
    FIRST_LIVE_MODEL,
    REGISTERED,
    LiveModel,
    find_registered,
    live_model,
    local_weights,
)
from tasks.measured_pairs import newest_pair
from tasks.register_model import keep_first_model
from vision.models import resolve_model


@dataclass(frozen=True)
class PromotionOutcome:
    """What came of a wish to make a model live.

    Attributes:
        model_id: The model that was to become live.
        live_id: The model that is live now.
        previous_id: The model that was live before.
        promotion: What was recorded; None if nothing was changed, as in a dry run, if the gate
            refused, or if the model was live already.
        decision: What the gate found, if it was asked.
    """

    model_id: str
    live_id: str
    previous_id: str
    promotion: Promotion | None
    decision: GateDecision | None

    @property
    def refused(self) -> bool:
        """Whether the gate refused it."""
        return self.decision is not None and self.decision.verdict == "refuse"


def promote_through_gate(
    root: str,
    model: str,
    gate: Gate,
    *,
    replacing: str | None = None,
    evaluation_id: str | None = None,
    live_evaluation_id: str | None = None,
    note: str | None = None,
    run_id: str | None = None,
    dry_run: bool = False,
) -> PromotionOutcome:
    """Make a registered model live if it passes the gate; the decision is recorded either way.

    Args:
        root: The data root.
        model: Its id, or the beginning of it; `model:` may stand before.
        gate: The rules.
        replacing: The model that must be live now; None takes any.
        evaluation_id: Measurement of the model; None takes the newest of which there is one of the
            live model on the same images, and that is not out of date (see
            `tasks.measured_pairs.newest_pair`). One that is named is taken as it is.
        live_evaluation_id: Measurement of the live model, likewise.
        note: What to say of it in the record.
        run_id: The run that asks.
        dry_run: Decide only; nothing is recorded or changed.

    Raises:
        ModelReferenceError: If there is no such model, or several.
        UnknownEvaluationError: If the models were not both measured.
        PromotionConflictError: If another model is or became live than was decided on.
        DamagedModelError: If a file of the model is missing, or not as it was stored.
        StorageError: As `Lake.append`.
    """
    store = ModelStore(root)
    candidate = find_registered(model, store).model_id
    live = _live(root, candidate, replacing)
    if candidate == live.model_id:
        return PromotionOutcome(candidate, candidate, candidate, None, None)
    pair = _evaluations(store, candidate, live, evaluation_id, live_evaluation_id)
    decision = decide(gate, *pair)
    if not dry_run:
        decision = store_decision(store.lake, decision, live.number, account(), run_id)
    if dry_run or decision.verdict == "refuse":
        return PromotionOutcome(candidate, live.model_id, live.model_id, None, decision)
    why = Why(
        "gate",
        note=note,
        evaluation_id=pair[0].evaluation_id,
        decision_id=decision.decision_id,
        promoted_by=account(),
        run_id=run_id,
    )
    promotion = _promote(store, candidate, live, why)
    return PromotionOutcome(candidate, candidate, live.model_id, promotion, decision)


def promote_by_hand(
    root: str,
    model: str,
    note: str,
    *,
    replacing: str | None = None,
    run_id: str | None = None,
    dry_run: bool = False,
) -> PromotionOutcome:
    """Make a registered model live without asking the gate; args and errors as through it.

    Args:
        root: The data root.
        model: Its id, or the beginning of it; `model:` may stand before.
        note: Why, for the record.
        replacing: The model that must be live now; None takes any.
        run_id: The run that asks.
        dry_run: Change nothing.
    """
    store = ModelStore(root)
    candidate = find_registered(model, store).model_id
    live = _live(root, candidate, replacing)
    if candidate == live.model_id:
        return PromotionOutcome(candidate, candidate, candidate, None, None)
    if dry_run:
        return PromotionOutcome(candidate, live.model_id, live.model_id, None, None)
    why = Why("by hand", note=note, promoted_by=account(), run_id=run_id)
    promotion = _promote(store, candidate, live, why)
    return PromotionOutcome(candidate, candidate, live.model_id, promotion, None)


def roll_back(
    root: str,
    *,
    replacing: str | None = None,
    note: str | None = None,
    run_id: str | None = None,
    dry_run: bool = False,
) -> PromotionOutcome:
    """Make the model live again that was so before the present one.

    That is one more promotion. A second rollback goes further back, not forth again.

    Args:
        root: The data root.
        replacing: The model that must be live now, so that a repeated call goes back only once;
            None takes any.
        note: Why, for the record.
        run_id: The run that asks.
        dry_run: Change nothing.

    Raises:
        NothingToRollBackError: If no promotion stands.
        PromotionConflictError: If another model is or became live.
        DamagedModelError: If a file of the model is missing.
        StorageError: As `Lake.append`.
    """
    store = ModelStore(root)
    live = live_model(root)
    _require_live(live, replacing, "the model before it")
    target = _model_before(store, live)
    if dry_run:
        return PromotionOutcome(target, live.model_id, live.model_id, None, None)
    if target not in {model.model_id for model in store.models()}:
        keep_first_model(store)  # which a promotion by an older version did not do
    # It was live before. To read all of it anew would cost time that matters now.
    store.check_presence(store.find(target))
    why = Why("rollback", note=note, promoted_by=account(), run_id=run_id)
    promotion = record_promotion(store.lake, live.number, target, live.model_id, why)
    return PromotionOutcome(target, target, live.model_id, promotion, None)


def _live(root: str, candidate: str, replacing: str | None) -> LiveModel:
    live = live_model(root)
    if candidate != live.model_id:
        _require_live(live, replacing, candidate)
    return live


def _require_live(live: LiveModel, replacing: str | None, candidate: str) -> None:
    if replacing is None or live.model_id == replacing.removeprefix(REGISTERED):
        return
    last = live.promotion
    raise PromotionConflictError(
        candidate,
        replacing,
        live.model_id,
        (last.why.promoted_by or last.why.run_id) if last else None,
        last.promoted_at if last else None,
    )


def _promote(store: ModelStore, candidate: str, live: LiveModel, why: Why) -> Promotion:
    previous_id = live.model_id
    if live.promotion is None:
        previous_id = keep_first_model(store).model_id
    # All of its bytes: from now on every run asks for them.
    local_weights(store, store.find(candidate))
    return record_promotion(store.lake, live.number, candidate, previous_id, why)


def _model_before(store: ModelStore, live: LiveModel) -> str:
    standing = standing_promotions(read_promotions(store.lake)[: live.number])
    if not standing:
        raise NothingToRollBackError(live.model_id)
    if len(standing) > 1:
        return standing[-2].model_id
    return standing[0].previous_id or resolve_model(FIRST_LIVE_MODEL).model_id


def _evaluations(
    store: ModelStore,
    candidate: str,
    live: LiveModel,
    evaluation_id: str | None,
    live_evaluation_id: str | None,
) -> tuple[Evaluation, Evaluation]:
    ours = _measured(store, candidate, evaluation_id)
    theirs = _measured(store, live.model_id, live_evaluation_id)
    pairs = [(first, second) for first in reversed(ours) for second in reversed(theirs)]
    if evaluation_id or live_evaluation_id:
        # Who names one takes it as it is.
        pair = next((pair for pair in pairs if comparable(*pair)), None)
    else:
        pair = newest_pair(ours, theirs)
    # The newest two of those that cannot be compared: then the gate says why.
    return pair or next(pair for pair in pairs if not comparable(*pair))


def _measured(store: ModelStore, model_id: str, evaluation_id: str | None) -> Sequence[Evaluation]:
    if evaluation_id is None:
        if found := read_evaluations(store.lake, model_id):
            return found
        raise UnknownEvaluationError(
            f"{model_id} was never measured, so the gate cannot decide; measure it and the live "
            "model on the same images: segmill evaluate"
        )
    found_one = load_evaluation(store.lake, evaluation_id)
    if found_one.model_id != model_id:
        raise UnknownEvaluationError(
            f"evaluation {evaluation_id} is of {found_one.model_id}, not of {model_id}"
        )
    return [found_one]


def account() -> str:
    """Who does it: the account and the machine."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        name = str(os.getuid())
    return f"{name}@{socket.gethostname()}"
