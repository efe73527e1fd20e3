from pathlib import Path

import pytest

from storage.errors import (
    DamagedModelError,
    NothingToRollBackError,
    PromotionConflictError,
    UnknownEvaluationError,
)
from storage.gate_decisions import read_decisions
from storage.lake import Lake
from storage.model_store import ModelStore
from storage.promotions import read_promotions
from tasks import promote_model
from tasks.gate_rules import load_gate
from tasks.live_model import live_model, resolve_reference
from tasks.model_facts import NotMeasuredAlikeError, compare_models
from tasks.promote_model import promote_by_hand, promote_through_gate, roll_back
from tests.evaluations import measure
from tests.model_files import put_models
from vision.models import ModelReferenceError, resolve_model

FIRST = resolve_model("demo").model_id
BETTER = {"miou@1.centre": 0.05}


@pytest.fixture
def root(tmp_path) -> str:
    return str(tmp_path / "root")


@pytest.fixture
def lake(root) -> Lake:
    return Lake.open(root)


@pytest.fixture
def models(root, tmp_path) -> list[str]:
    return [model.model_id for model in put_models(root, tmp_path)]


def live(root):
    return live_model(root).model_id


def test_without_promotions_the_model_that_ships_is_live(root):
    assert live_model(root).reference == "demo"
    assert resolve_reference("promoted", root).reference == "demo"
    assert not Path(root).exists()


def test_a_promotion_by_hand_says_who_and_why(root, models):
    outcome = promote_by_hand(root, models[0][:3], "the first one", run_id="run-1")
    assert (outcome.live_id, outcome.previous_id) == (models[0], FIRST)
    assert resolve_reference("promoted", root).reference == f"model:{models[0]}"
    (recorded,) = read_promotions(Lake.open(root))
    assert recorded == outcome.promotion
    assert (recorded.why.reason, recorded.why.note) == ("by hand", "the first one")
    assert (recorded.why.run_id, "@" in recorded.why.promoted_by) == ("run-1", True)
    again = promote_by_hand(root, models[0], "once more")
    assert again.promotion is None
    assert len(read_promotions(Lake.open(root))) == 1


def test_the_first_promotion_keeps_the_way_back_to_the_model_that_ships(
    root, models, monkeypatch, tmp_path
):
    promote_by_hand(root, models[0], "x")
    # As if a later version shipped another one.
    monkeypatch.setattr("vision.models.DEMO_FOLDER", tmp_path / "gone")
    assert roll_back(root).live_id == FIRST
    assert resolve_reference("promoted", root).reference == f"model:{FIRST}"
    ModelStore(root).check(ModelStore(root).find(FIRST))


def test_a_better_model_passes_the_gate_and_its_record_says_why(root, lake, models):
    ours = measure(lake, models[0], **BETTER)
    theirs = measure(lake, FIRST)
    outcome = promote_through_gate(root, models[0], load_gate(), note="night 7")
    assert not outcome.refused
    assert live(root) == models[0]
    why = read_promotions(lake)[0].why
    assert (why.reason, why.note, why.evaluation_id) == ("gate", "night 7", ours.evaluation_id)
    (decision,) = read_decisions(lake, models[0])
    assert decision.decision_id == why.decision_id
    assert (decision.verdict, decision.live_evaluation_id) == ("promote", theirs.evaluation_id)
    assert all(rule.words for rule in decision.rules)


@pytest.mark.parametrize("gains", [{}, {"miou@1.centre": -0.05}, BETTER | {"ar@1000": -0.1}])
def test_a_model_that_is_no_better_is_refused_and_that_is_recorded(root, lake, models, gains):
    measure(lake, models[0], **gains)
    measure(lake, FIRST)
    outcome = promote_through_gate(root, models[0], load_gate())
    assert outcome.refused
    assert live(root) == FIRST
    assert read_promotions(lake) == []
    (decision,) = read_decisions(lake)
    assert decision.verdict == "refuse"
    assert promote_through_gate(root, models[0], load_gate()).refused
    assert len(read_decisions(lake)) == 1


def test_a_dry_run_says_what_would_be_and_writes_nothing(root, lake, models):
    measure(lake, models[0], **BETTER)
    measure(lake, FIRST)
    before = sorted(Path(root).rglob("*"))
    outcome = promote_through_gate(root, models[0], load_gate(), dry_run=True)
    assert (outcome.refused, outcome.promotion) == (False, None)
    assert promote_by_hand(root, models[0], "x", dry_run=True).promotion is None
    assert sorted(Path(root).rglob("*")) == before


def test_measurements_of_the_same_images_are_sought(root, lake, models):
    right = measure(lake, models[0], images=30, **BETTER)
    measure(lake, FIRST, images=30)
    measure(lake, models[0], images=25)  # newer, but the live model was not measured on these
    outcome = promote_through_gate(root, models[0], load_gate())
    assert outcome.promotion.why.evaluation_id == right.evaluation_id


def test_a_set_that_changed_since_decides_nothing_until_both_are_measured_on_it(root, lake, models):
    old = measure(lake, models[0], set_id="old", **BETTER), measure(lake, FIRST, set_id="old")
    measure(lake, models[0], set_id="new", **{"miou@1.centre": -0.3})
    outcome = promote_through_gate(root, models[0], load_gate())
    assert outcome.refused
    (rule,) = outcome.decision.rules
    assert ("set new" in rule.words, "set old" in rule.words) == (True, True)
    assert "measure both alike" in rule.words
    with pytest.raises(NotMeasuredAlikeError):
        compare_models(root, models[0], "demo", load_gate())
    # Only who names them compares the old ones.
    named = {"evaluation_id": old[0].evaluation_id, "live_evaluation_id": old[1].evaluation_id}
    assert not promote_through_gate(root, models[0], load_gate(), dry_run=True, **named).refused
    measure(lake, FIRST, set_id="new")
    outcome = promote_through_gate(root, models[0], load_gate())
    assert outcome.refused
    assert "luck" in outcome.decision.rules[1].words
    assert compare_models(root, models[0], "demo", load_gate()).second.set_id == "new"


def test_the_live_model_alone_on_a_new_set_is_refused_likewise(root, lake, models):
    measure(lake, models[0], set_id="old", **BETTER)
    measure(lake, FIRST, set_id="old")
    measure(lake, FIRST, set_id="new")
    outcome = promote_through_gate(root, models[0], load_gate())
    assert "measure both alike" in outcome.decision.rules[0].words
    assert live(root) == FIRST


def test_models_that_were_not_measured_are_told(root, lake, models):
    with pytest.raises(UnknownEvaluationError, match=f"{models[0]} was never measured"):
        promote_through_gate(root, models[0], load_gate())
    ours = measure(lake, models[0])
    with pytest.raises(UnknownEvaluationError, match=f"{FIRST} was never measured"):
        promote_through_gate(root, models[0], load_gate())
    with pytest.raises(UnknownEvaluationError, match=f"not of {models[1]}"):
        promote_through_gate(root, models[1], load_gate(), evaluation_id=ours.evaluation_id)
    assert live(root) == FIRST


def test_who_decided_while_another_was_live_is_refused(root, lake, models, monkeypatch):
    measure(lake, models[0], **BETTER)
    measure(lake, FIRST)
    local_weights = promote_model.local_weights

    def meanwhile(store, model):
        monkeypatch.setattr(promote_model, "local_weights", local_weights)
        promote_by_hand(root, models[1], "quicker")
        return local_weights(store, model)

    monkeypatch.setattr(promote_model, "local_weights", meanwhile)
    with pytest.raises(PromotionConflictError, match=f"{models[1]} became live by"):
        promote_through_gate(root, models[0], load_gate())
    assert live(root) == models[1]
    assert read_decisions(lake)[0].verdict == "promote"  # it was right when it was made
    assert len(read_promotions(lake)) == 1


def test_a_model_that_should_be_live_and_is_not_changes_nothing(root, models):
    promote_by_hand(root, models[0], "x", replacing=FIRST)
    with pytest.raises(PromotionConflictError, match=f"{models[0]} became live"):
        promote_by_hand(root, models[1], "x", replacing=FIRST)
    with pytest.raises(PromotionConflictError, match=models[0]):
        roll_back(root, replacing=models[1])
    assert live(root) == models[0]
    assert roll_back(root, replacing=f"model:{models[0]}").live_id == FIRST


@pytest.mark.parametrize("name", ["model.safetensors", "manifest.json"])
def test_a_harmed_model_does_not_become_live(root, models, name):
    path = Path(root) / "models" / models[0] / name
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(DamagedModelError, match=name):
        promote_by_hand(root, models[0], "x")
    assert live(root) == FIRST


def test_rollback_takes_back_one_promotion_after_the_other(root, models):
    with pytest.raises(NothingToRollBackError, match=FIRST):
        roll_back(root)
    for model in models:
        promote_by_hand(root, model, "x")
    assert roll_back(root, dry_run=True).model_id == models[1]
    assert live(root) == models[2]
    found = [roll_back(root, note="bad").live_id for _ in range(3)]
    assert found == [models[1], models[0], FIRST]
    with pytest.raises(NothingToRollBackError):
        roll_back(root)
    history = read_promotions(Lake.open(root))
    assert [each.why.reason for each in history] == ["by hand"] * 3 + ["rollback"] * 3
    assert history[3].previous_id == models[2]
    assert promote_by_hand(root, models[2], "after all").live_id == models[2]
    assert roll_back(root).live_id == FIRST


def test_a_model_that_is_gone_cannot_be_rolled_back_to(root, models):
    promote_by_hand(root, models[0], "x")
    promote_by_hand(root, models[1], "x")
    (Path(root) / "models" / models[0] / "model.safetensors").unlink()
    with pytest.raises(DamagedModelError, match=r"model\.safetensors.*missing"):
        roll_back(root)
    assert live(root) == models[1]


def test_a_model_that_is_not_registered_is_told_with_near_names(root, models):
    with pytest.raises(ModelReferenceError, match=f"did you mean {models[0]}"):
        promote_by_hand(root, models[0][:-1] + "z", "x")
