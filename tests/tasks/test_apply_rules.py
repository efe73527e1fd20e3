"""Rules accept what fits them, once, and never against a person."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.lake import Lake
from storage.retraction import plan_retraction, retract
from storage.session import connect
from tasks.apply_rules import apply_rules
from tasks.curation_rules import CurationRules
from tasks.review_decisions import Decision
from tasks.reviews import record_reviews
from tests.lakes import NIGHT, cut, image_row, ingest, segment_row
from tests.storage.test_curated import annotation_row, bring

LABELS = ("panel", "text")


@pytest.fixture
def lake(tmp_path) -> Lake:
    return Lake.open(str(tmp_path))


def root_of(lake):
    return lake.root.removesuffix("/lake")


def apply(lake, rules=None, dataset="comics", dry_run=False, **given):
    rules = rules or CurationRules.model_validate(given)
    done = apply_rules.fn(root_of(lake), dataset, rules, dry_run=dry_run)
    return done.accepted, done.reopened


_numbers = count()


def decide(lake, segment_ids, decision="reject", **values):
    decisions = [
        Decision(
            decision_id=f"decision {next(_numbers)}",
            segment_id=segment_id,
            decision=decision,
            reviewer="amy",
            **values,
        )
        for segment_id in ([segment_ids] if isinstance(segment_ids, str) else segment_ids)
    ]
    results = record_reviews(lake, decisions, LABELS)
    assert all(result.outcome == "recorded" for result in results)


def ask(lake, sql):
    with connect(lake) as session:
        return session.execute(sql).fetchall()


def curated(lake, dataset="comics"):
    found = ask(lake, f"SELECT object_id FROM curated WHERE dataset = '{dataset}' ORDER BY 1")
    return [segment for (segment,) in found]


def two_images(lake, *segments):
    ingest(lake, "i", [image_row("a"), image_row("b")])
    cut(lake, "s", ["a", "b"], segments)


def test_segments_that_have_all_that_is_asked_for_are_accepted(lake):
    good = {"predicted_iou": 0.9, "stability_score": 0.96, "score": 0.8, "margin": 0.4}
    short = {name: value - 0.01 for name, value in good.items()}
    unknown = dict.fromkeys(good)
    rows = [segment_row("a", segment_id="good", area_px=100, **good)]
    rows += [
        segment_row("a", segment_id=f"{kind} {name}", area_px=100, **good | {name: wrong[name]})
        for name in good
        for kind, wrong in (("short", short), ("without", unknown))
    ]
    rows += [segment_row("a", segment_id=f"{px} px", area_px=px, **good) for px in (99, 601)]
    rows += [segment_row("a", segment_id="of 600 px", area_px=600, **good)]
    rows += [segment_row("a", "unknown", segment_id="unknown", area_px=100, **good)]
    two_images(lake, *rows)
    asked = {f"min_{name}": value for name, value in good.items()}
    assert apply(lake, **asked, min_area_px=100, max_area_share=0.5) == ({"panel": 2}, {})
    assert curated(lake) == ["good", "of 600 px"]
    assert ask(lake, "SELECT DISTINCT source, starts_with(reviewer, 'rules:') FROM curated") == [
        ("rules", True)
    ]


def test_a_label_may_have_thresholds_of_its_own(lake):
    two_images(
        lake,
        segment_row("a", "panel", segment_id="p", score=0.7),
        segment_row("a", "text", segment_id="t", score=0.7),
        segment_row("b", "bubble", segment_id="b", score=0.99),
        segment_row("b", "unknown", segment_id="u", score=0.2),
    )
    labels = {"text": {"min_score": 0.6}, "bubble": {"accept": False}, "unknown": {"min_score": 0}}
    assert apply(lake, min_score=0.8, labels=labels) == ({"text": 1, "unknown": 1}, {})


def test_of_an_image_and_of_a_label_the_best_are_accepted(lake):
    scores = {"a1": 0.9, "a2": 0.8, "a3": 0.7, "b1": 0.6, "b2": 0.5, "b3": 0.5}
    two_images(
        lake,
        *[segment_row(name[0], segment_id=name, score=score) for name, score in scores.items()],
    )
    assert apply(lake, max_per_image=2, max_per_label=3) == ({"panel": 3}, {})
    assert curated(lake) == ["a1", "a2", "b1"]


def test_done_again_nothing_is_decided_twice(lake):
    two_images(lake, segment_row("a"), segment_row("b"))
    assert apply(lake) == ({"panel": 2}, {})
    version = lake.version("reviews")
    assert apply(lake) == ({}, {})
    assert lake.version("reviews") == version


def test_a_dry_run_tells_and_changes_nothing(lake):
    two_images(lake, segment_row("a"))
    assert apply(lake, dry_run=True) == ({"panel": 1}, {})
    assert lake.version("reviews") is None


def test_a_person_counts_before_rules_whichever_came_first(lake):
    two_images(lake, *[segment_row("a", segment_id=name) for name in ("early", "late", "none")])
    decide(lake, "early")
    assert apply(lake) == ({"panel": 2}, {})
    decide(lake, "late", based_on=0)
    assert curated(lake) == ["none"]
    assert apply(lake) == ({}, {})
    assert apply(lake, min_score=0.1) == ({"panel": 1}, {})
    assert ask(lake, "SELECT count(*) FROM reviews WHERE segment_id = 'early'") == [(1,)]
    decide(lake, "late", "reopen", based_on=1)
    assert curated(lake) == ["late", "none"]


def test_other_rules_decide_anew_what_rules_decided_and_nothing_else(lake):
    two_images(
        lake,
        segment_row("a", segment_id="good", score=0.9),
        segment_row("a", segment_id="fair", score=0.7),
        segment_row("a", segment_id="person", score=0.7),
        segment_row("b", "text", segment_id="other", score=0.5),
    )
    apply(lake, min_score=0.6)
    decide(lake, "person", "relabel", label="text")
    assert apply(lake, min_score=0.8) == ({"panel": 1}, {"panel": 1})
    assert curated(lake) == ["good", "person"]
    reviewers = ask(lake, "SELECT count(DISTINCT reviewer), count(*) FROM reviews")
    assert reviewers == [(3, 6)]
    assert apply(lake, min_score=0.4) == ({"panel": 2, "text": 1}, {})
    assert curated(lake) == ["fair", "good", "other", "person"]


def test_what_was_accepted_keeps_its_place_among_better_ones(lake):
    two_images(lake, segment_row("a", segment_id="first", score=0.8))
    assert apply(lake, max_per_label=1) == ({"panel": 1}, {})
    ingest(lake, "i2", [image_row("c")])
    cut(lake, "s2", ["c"], [segment_row("c", segment_id="better", score=0.9)])
    assert apply(lake, max_per_label=1) == ({}, {})
    assert apply(lake, max_per_label=1, min_score=0.1) == ({"panel": 1}, {"panel": 1})
    assert curated(lake) == ["better"]


def test_a_place_that_a_person_decided_about_is_not_given_to_another(lake):
    rows = [segment_row("a", segment_id=f"s{n}", score=1 - n / 10) for n in range(3)]
    before, after = Lake(f"{lake.root}-before/lake"), Lake(f"{lake.root}-after/lake")
    for copy in (before, after):
        two_images(copy, *rows)
    decide(before, "s0")
    apply(before, max_per_image=2)
    apply(after, max_per_image=2)
    decide(after, "s0")
    apply(after, max_per_image=2)
    assert curated(before) == curated(after) == ["s1"]


def test_images_with_annotations_are_left_alone_unless_it_is_asked_for(lake):
    two_images(lake, segment_row("a", segment_id="a1"), segment_row("b", segment_id="b1"))
    bring(lake, "mon", annotation_row("a", "1"), annotation_row("b", "2", iscrowd=True))
    assert apply(lake) == ({"panel": 1}, {})
    assert apply(lake, annotated_images=True) == ({"panel": 2}, {})
    assert apply(lake) == ({"panel": 1}, {"panel": 1})
    assert curated(lake) == ["1", "b1"]


def test_the_newest_cut_of_an_image_is_what_rules_look_at(lake):
    two_images(lake, segment_row("a", segment_id="old a"), segment_row("b", segment_id="old b"))
    assert apply(lake) == ({"panel": 2}, {})
    cut(lake, "s2", ["a"], [segment_row("a", segment_id="new a", model_id="newer")],
        model_id="newer")  # fmt: skip
    assert apply(lake) == ({"panel": 1}, {"panel": 1})
    assert curated(lake) == ["new a", "old b"]
    cut(lake, "s3", ["b"], [], model_id="newer")
    assert apply(lake) == ({}, {"panel": 1})
    assert curated(lake) == ["new a"]


def test_an_image_of_two_datasets_is_left_to_the_rules_of_the_first(lake):
    later = NIGHT + timedelta(days=1)
    ingest(lake, "i", [image_row("a"), image_row("a", dataset="street", ingested_at=later)])
    cut(lake, "s", ["a"], [segment_row("a", segment_id="a1")])
    assert apply(lake, dataset="street") == ({}, {})
    assert apply(lake) == ({"panel": 1}, {})
    assert apply(lake, dataset="street", min_score=1) == ({}, {})
    assert curated(lake, "street") == curated(lake) == ["a1"]


def test_withdrawn_segments_are_not_decided_about(lake):
    row = segment_row("a", segment_id="a1")
    two_images(lake, row)
    apply(lake)
    retract(lake, plan_retraction(lake, "model", "model"))
    assert apply(lake) == apply(lake, min_score=1) == ({}, {})
    cut(lake, "s", ["a", "b"], [row])
    assert curated(lake) == ["a1"]


def test_rules_at_once_decide_once(lake):
    two_images(lake, *[segment_row("a", segment_id=f"a{n}") for n in range(5)])
    rules = [{"min_score": 0.1}, {"min_score": 0.1}, {"min_score": 0.2}]
    with ThreadPoolExecutor(3) as pool:
        done = list(pool.map(lambda given: apply(Lake(lake.root), **given), rules))
    found = ask(lake, "SELECT reviewer, count(*), max(version) FROM reviews GROUP BY 1")
    assert all(count == 5 for _, count, _ in found)
    assert sum(sum(accepted.values()) for accepted, _ in done) == 5 * len(found)
    versions = ask(lake, "SELECT segment_id, version FROM reviews")
    assert len(set(versions)) == len(versions)


def test_what_people_decide_while_rules_are_at_work_is_left_to_them(lake, monkeypatch):
    two_images(lake, *[segment_row("a", segment_id=f"a{n}") for n in range(3)])
    real = Lake.append_at
    meanwhile = iter([("a0", "reject"), ("a2", "reject")])

    def slow(self, table, rows, version, about):
        if about["segmill"] == "rules" and (person := next(meanwhile, None)):
            decide(self, *person)
        return real(self, table, rows, version, about)

    monkeypatch.setattr(Lake, "append_at", slow)
    assert apply(lake) == ({"panel": 1}, {})
    assert curated(lake) == ["a1"]
    assert ask(lake, "SELECT count(*) FROM reviews") == [(3,)]


SEGMENT = st.fixed_dictionaries(
    {
        "image_id": st.sampled_from("ab"),
        "label": st.sampled_from(["panel", "text", "unknown"]),
        "score": st.sampled_from([None, 0.1, 0.5, 0.9]),
        "predicted_iou": st.sampled_from([0.5, 0.9]),
        "area_px": st.sampled_from([10, 500, 1200]),
    }
)
OWN = st.fixed_dictionaries(
    {},
    optional={
        "accept": st.booleans(),
        "min_score": st.sampled_from([None, 0.0, 0.5, 1.0]),
        "min_predicted_iou": st.sampled_from([None, 0.8]),
        "max_area_share": st.sampled_from([None, 0.5]),
        "max_per_label": st.sampled_from([None, 1, 2]),
    },
)
RULES = st.builds(
    lambda general, most, labels: general | {"max_per_image": most, "labels": labels},
    OWN,
    st.sampled_from([None, 1, 2]),
    st.dictionaries(st.sampled_from(["panel", "text", "unknown"]), OWN, max_size=2),
)


def accepted_by(rules, segments):
    """What rules accept, told in Python."""

    def threshold(row, name):
        own = rules["labels"].get(row["label"], {})
        if name == "accept" and row["label"] == "unknown" and row["label"] not in rules["labels"]:
            return False
        return own.get(name, rules.get(name, True if name == "accept" else None))

    def reaches(row, name, column):
        least = threshold(row, name)
        return least is None or (row[column] is not None and row[column] >= least)

    def fits(row):
        share = threshold(row, "max_area_share")
        return (
            threshold(row, "accept")
            and reaches(row, "min_score", "score")
            and reaches(row, "min_predicted_iou", "predicted_iou")
            and (share is None or row["area_px"] <= share * 1200)
        )

    best = sorted(
        filter(fits, segments),
        key=lambda row: (-(row["score"] or -1), -row["predicted_iou"], row["segment_id"]),
    )
    of_image, of_label, chosen = {}, {}, set()
    for row in best:
        of_image[row["image_id"]] = of_image.get(row["image_id"], 0) + 1
        if of_image[row["image_id"]] > (rules["max_per_image"] or len(best)):
            continue
        of_label[row["label"]] = of_label.get(row["label"], 0) + 1
        if of_label[row["label"]] <= (threshold(row, "max_per_label") or len(best)):
            chosen.add(row["segment_id"])
    return chosen


@settings(max_examples=10)
@given(
    st.lists(SEGMENT, min_size=1, max_size=10),
    RULES,
    RULES,
    st.sets(st.integers(0, 9), max_size=3),
    st.sets(st.integers(0, 9), max_size=3),
)
def test_what_is_accepted_is_what_the_rules_say(tmp_path_factory, drawn, old, new, early, late):
    root = tmp_path_factory.mktemp("root")
    lake = Lake.open(str(root))
    segments = [row | {"segment_id": f"s{number}"} for number, row in enumerate(drawn)]
    two_images(lake, *[segment_row(**row) for row in segments])
    known = {row["segment_id"] for row in segments}
    early = {f"s{number}" for number in early} & known
    late = {f"s{number}" for number in late} & known - early
    decide(lake, early)
    apply(lake, CurationRules.model_validate(old))
    assert set(curated(lake)) == accepted_by(old, segments) - early
    decide(lake, late)
    rules = CurationRules.model_validate(new)
    apply(lake, rules)
    assert set(curated(lake)) == accepted_by(new, segments) - early - late
    assert apply(lake, rules) == ({}, {})
    shutil.rmtree(root)
