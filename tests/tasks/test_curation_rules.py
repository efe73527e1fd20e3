"""Rules are read from YAML; what is wrong with them is told by name."""

import pytest

from tasks.curation_rules import CurationRules, CurationRulesError, check_labels, load_rules


def read(folder, text) -> CurationRules:
    path = folder / "rules.yaml"
    path.write_text(text)
    return load_rules(str(path))


def test_the_rules_that_come_along_can_be_read():
    rules = load_rules("curation")
    assert rules.min_score is not None
    check_labels(rules, ("panel",))


def test_labels_have_the_general_thresholds_but_for_their_own(tmp_path):
    rules = read(tmp_path, "min_score: 0.8\nmin_margin: 0.5\nlabels: {text: {min_score: null}}")
    general, unknown, text = rules.by_label()
    assert (general["label"], general["min_score"], general["accept"]) == (None, 0.8, True)
    assert (unknown["label"], unknown["accept"]) == ("unknown", False)
    assert (text["label"], text["min_score"], text["min_margin"]) == ("text", None, 0.5)


def test_unknown_is_accepted_where_it_is_named(tmp_path):
    rules = read(tmp_path, "labels: {unknown: {min_score: 0.1}}")
    assert [row["accept"] for row in rules.by_label() if row["label"] == "unknown"] == [True]


def test_other_rules_are_another_reviewer(tmp_path):
    texts = ["", "min_score: 0.5", "min_score: 0.6", "labels: {text: {min_score: 0.5}}"]
    reviewers = [read(tmp_path, text).reviewer for text in texts]
    assert len(set(reviewers)) == len(texts)
    assert all(name.startswith("rules:") and len(name) == 18 for name in reviewers)
    assert read(tmp_path, "# said otherwise\n{min_score: 0.50}").reviewer == reviewers[1]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("min_scor: 0.5", "unknown key 'min_scor', did you mean 'min_score'?"),
        ("max_per_images: 5", "did you mean 'max_per_image'?"),
        ("labels: {text: {min_scores: 1}}", "'min_score'? in labels.text"),
        ("labels: {text: {max_per_image: 5}}", "unknown key 'max_per_image'"),
        ("min_score: 1.5", "min_score: Input should be less than or equal to 1, found 1.5"),
        ("min_area_px: 0", "min_area_px"),
        ("max_per_image: many", "max_per_image: Input should be a valid integer"),
        ("min_area_px: 9\nmax_area_px: 8", "min_area_px is 9, more than max_area_px, 8"),
        ("min_area_share: 0.5\nmax_area_share: 0.4", "more than max_area_share"),
        ("- min_score", "the file: Input should be a valid dictionary"),
        ("min_score: [", "rules.yaml"),
        ("min_score: 0.9\nmin_score: 0.1", "min_score is given twice"),
        ("labels: {text: {}, text: {accept: false}}", "text is given twice"),
        ("min_score: 2024-13-45", "month must be in 1..12"),
        ("labels: &x {text: *x}", "labels.text"),
        ("min_score: .nan", "min_score"),
        ("labels: [text]", "labels: Input should be a valid dictionary"),
    ],
)
def test_what_is_wrong_is_told(tmp_path, text, told):
    with pytest.raises(CurationRulesError) as refused:
        read(tmp_path, text)
    assert told in str(refused.value)
    assert str(tmp_path) in str(refused.value)


def test_all_that_is_wrong_is_told_at_once(tmp_path):
    with pytest.raises(CurationRulesError, match=r"max_per_image.*; .*min_scor"):
        read(tmp_path, "min_scor: 1\nmax_per_image: 0")


@pytest.mark.parametrize("name", ["absent", "../curation", "/etc/curation"])
def test_rules_that_are_not_there_are_told(name):
    with pytest.raises(CurationRulesError, match="no rules"):
        load_rules(name)
    with pytest.raises(CurationRulesError, match=r"absent\.yaml"):
        load_rules("absent.yaml")


def test_labels_of_another_set_are_refused():
    rules = CurationRules.model_validate({"labels": {"panels": {}, "unknown": {}, "car": {}}})
    with pytest.raises(CurationRulesError, match="'panels', did you mean 'panel'") as refused:
        check_labels(rules, ("panel", "text"))
    assert "unknown label 'car': expected one of panel, text, unknown" in str(refused.value)
