"""What people decide about segments is recorded once, and not against what they have not seen."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from storage.lake import Lake
from storage.maintenance import maintain_table
from storage.session import connect
from tasks.review_decisions import Decision, ReviewsRefusedError
from tasks.reviews import StaleReviewError, record_review, record_reviews
from tests.lakes import cut, image_row, ingest, segment_row
from vision.masks import mask_to_rle

LABELS = ("panel", "bubble", "text")
MASK = np.zeros((30, 40), bool)
MASK[3:8, 4:10] = True
RLE = mask_to_rle(MASK).decode()


def filled(folder) -> Lake:
    lake = Lake.open(str(folder))
    ingest(lake, "i", [image_row("a"), image_row("b")])
    segments = [segment_row(image, segment_id=f"{image}{n}") for image in "ab" for n in (1, 2, 3)]
    cut(lake, "s", ["a", "b"], segments)
    return lake


@pytest.fixture
def lake(tmp_path) -> Lake:
    return filled(tmp_path)


@pytest.fixture(scope="module")
def unchanged(tmp_path_factory) -> Lake:
    """For tests that record nothing."""
    return filled(tmp_path_factory.mktemp("root"))


def decide(segment_id="a1", decision="accept", decision_id=None, reviewer="amy", **values):
    return Decision(
        decision_id=decision_id or f"{reviewer} {decision} {segment_id} {values}",
        segment_id=segment_id,
        decision=decision,
        reviewer=reviewer,
        **values,
    )


def ask(lake, sql):
    with connect(lake) as session:
        return session.execute(sql).fetchall()


def rows(lake):
    return ask(
        lake, "SELECT segment_id, decision, reviewer, version FROM reviews ORDER BY table_version"
    )


def test_each_kind_of_decision_says_what_is_curated(lake):
    record_reviews(
        lake,
        [
            decide("a1"),
            decide("a2", "reject"),
            decide("a3", "relabel", label="bubble"),
            decide("b1", "fix", mask=RLE),
            decide("b2", "fix", label="text", mask={"size": [30, 40], "counts": RLE}),
        ],
        LABELS,
    )
    own = "P14j0000fQ1"
    assert ask(lake, "SELECT object_id, label, rle, area_px, source FROM curated ORDER BY 1") == [
        ("a1", "panel", own, 12, "review"),
        ("a3", "bubble", own, 12, "review"),
        ("b1", "panel", RLE, 30, "review"),
        ("b2", "text", RLE, 30, "review"),
    ]
    assert len({version for (version,) in ask(lake, "SELECT table_version FROM reviews")}) == 1


def test_the_last_decision_counts_and_says_all(lake):
    record_review(lake, decide(decision="fix", label="text", mask=RLE), LABELS)
    record_review(lake, decide(decision="relabel", label="bubble", based_on=1), LABELS)
    assert ask(lake, "SELECT label, area_px FROM curated") == [("bubble", 12)]
    record_review(lake, decide(decision="reject", based_on=2), LABELS)
    assert ask(lake, "SELECT * FROM curated") == []
    record_review(lake, decide(decision="reopen", based_on=3), LABELS)
    assert ask(lake, "SELECT * FROM decisions") == []
    assert [row[-1] for row in rows(lake)] == [1, 2, 3, 4]


def test_a_stale_decision_is_refused_and_told_what_was_decided_meanwhile(lake):
    record_review(lake, decide(reviewer="amy", based_on=0), LABELS)
    with pytest.raises(StaleReviewError, match=r"accept by amy at .* \(version 1\)") as refused:
        record_review(lake, decide(decision="reject", reviewer="bob", based_on=0), LABELS)
    assert refused.value.newest.version == 1
    record_review(lake, decide(decision="reject", reviewer="bob", based_on=1), LABELS)
    with pytest.raises(StaleReviewError, match="reject by bob"):
        record_review(lake, decide(decision="accept", reviewer="cy", based_on=1), LABELS)
    record_review(lake, decide(decision="reopen", reviewer="bob", based_on=2), LABELS)
    with pytest.raises(StaleReviewError, match="reopen by bob"):
        record_review(lake, decide(decision="accept", reviewer="cy", based_on=0), LABELS)
    assert len(rows(lake)) == 3


def test_a_double_click_is_one_decision(lake):
    first = record_review(lake, decide(based_on=0, decision_id="click"), LABELS)
    again = record_review(lake, decide(based_on=0, decision_id="click"), LABELS)
    assert (first.outcome, again.outcome) == ("recorded", "repeated")
    reloaded = record_review(lake, decide(based_on=0, decision_id="after a reload"), LABELS)
    assert reloaded.outcome == "repeated"
    assert rows(lake) == [("a1", "accept", "amy", 1)]


def test_a_click_that_comes_again_late_takes_nothing_back(lake):
    record_review(lake, decide(based_on=0, decision_id="click"), LABELS)
    record_review(lake, decide(decision="reject", reviewer="bob", based_on=1), LABELS)
    late = record_review(lake, decide(based_on=0, decision_id="click"), LABELS)
    assert (late.outcome, late.newest.reviewer) == ("repeated", "bob")
    assert len(rows(lake)) == 2


def test_one_id_for_two_decisions_is_refused(lake):
    record_review(lake, decide(decision_id="click"), LABELS)
    for other in (decide("a2", decision_id="click"), decide("a1", "reject", decision_id="click")):
        with pytest.raises(ReviewsRefusedError, match="'click' was given to another decision"):
            record_review(lake, other, LABELS)


def test_what_was_not_said_to_be_based_on_anything_comes_last(lake):
    record_review(lake, decide(reviewer="amy"), LABELS)
    record_review(lake, decide(decision="reject", reviewer="bob"), LABELS)
    assert ask(lake, "SELECT version, based_on FROM reviews ORDER BY 1") == [(1, None), (2, None)]
    assert ask(lake, "SELECT decision FROM decisions") == [("reject",)]


def test_to_reopen_what_is_open_is_nothing(lake):
    assert record_review(lake, decide(decision="reopen"), LABELS).outcome == "repeated"
    assert rows(lake) == []


@pytest.mark.parametrize(
    ("decision", "told"),
    [
        (decide("absent"), "no such segment: 'absent'"),
        (decide(decision="acept"), "unknown decision 'acept', did you mean 'accept'?"),
        (decide(decision="maybe"), "expected one of accept, reject, relabel, fix, reopen"),
        (decide(decision="relabel"), "relabel needs a label"),
        (decide(decision="relabel", label="bubbles"), "did you mean 'bubble'?"),
        (decide(decision="relabel", label="dog"), "expected one of panel, bubble, text"),
        (decide(label="text"), "accept takes no label"),
        (decide(decision="fix"), "fix needs a mask"),
        (decide(mask=RLE), "accept takes no mask"),
        (decide(decision="fix", mask={"size": [40, 30], "counts": RLE}), "40 x 30 px"),
        (decide(decision="fix", mask=mask_to_rle(MASK[:, 1:])), "40 x 30 px"),
        (decide(decision="fix", mask="nonsense?"), "40 x 30 px"),
        (decide(decision="fix", mask={"counts": [1200]}), "40 x 30 px"),
        (decide(decision="fix", mask=mask_to_rle(MASK & False)), "no pixel; reject"),
        (decide(based_on=-1), "0 or more, but got -1"),
        (decide(reviewer=" "), "expected a reviewer of 1 to 200 characters"),
        (decide(reviewer="rules:amy"), "must not begin with 'rules:'"),
        (decide(decision_id="a\nb"), "expected a decision_id"),
        (decide(segment_id=""), "expected a segment_id"),
    ],
)
def test_what_makes_no_sense_is_refused(unchanged, decision, told):
    with pytest.raises(ReviewsRefusedError) as refused:
        record_reviews(unchanged, [decide("b1"), decision], LABELS)
    assert list(refused.value.problems) == [1]
    assert told in str(refused.value)
    assert unchanged.version("reviews") is None


def test_all_that_is_wrong_is_told_at_once(lake):
    wrong = [decide("b1", "relabel"), decide("b2"), decide("a1"), decide("a1", "reject")]
    with pytest.raises(ReviewsRefusedError) as refused:
        record_reviews(lake, wrong, LABELS)
    assert str(refused.value).splitlines() == [
        "nothing was recorded:",
        "  decision 1: relabel needs a label",
        "  decision 3: segment 'a1' is there more than once",
        "  decision 4: segment 'a1' is there more than once",
    ]


def test_of_several_the_stale_ones_are_left_out(lake):
    record_review(lake, decide("a1", reviewer="bob"), LABELS)
    results = record_reviews(
        lake, [decide("a1", "reject", based_on=0), decide("a2", based_on=0)], LABELS
    )
    assert [result.outcome for result in results] == ["stale", "recorded"]
    assert rows(lake) == [("a1", "accept", "bob", 1), ("a2", "accept", "amy", 1)]


def test_a_dry_run_tells_and_changes_nothing(lake):
    assert record_reviews(lake, [decide()], LABELS, dry_run=True)[0].outcome == "recorded"
    assert lake.version("reviews") is None
    record_review(lake, decide(), LABELS)
    stale = record_reviews(lake, [decide(decision="reject", based_on=0)], LABELS, dry_run=True)
    assert stale[0].outcome == "stale"
    assert len(rows(lake)) == 1


def test_no_decision_is_no_commit(lake):
    assert record_reviews(lake, [], LABELS) == []
    assert lake.version("reviews") is None


@pytest.mark.parametrize("round_", range(4))
def test_of_reviewers_at_once_one_decides_and_the_others_are_told(lake, round_):
    people = [f"reviewer {number}" for number in range(5)]

    def click(reviewer):
        try:
            return record_review(Lake(lake.root), decide(reviewer=reviewer, based_on=0), LABELS)
        except StaleReviewError as stale:
            return stale

    with ThreadPoolExecutor(len(people)) as pool:
        results = list(pool.map(click, people))
    winners = [r.decision.reviewer for r in results if not isinstance(r, StaleReviewError)]
    assert len(winners) == 1
    assert {r.newest.reviewer for r in results} == set(winners)
    assert rows(lake) == [("a1", "accept", winners[0], 1)]


def test_reviewers_of_different_segments_do_not_hinder_each_other(lake):
    segments = [f"{image}{number}" for image in "ab" for number in (1, 2, 3)]
    with ThreadPoolExecutor(6) as pool:
        results = list(
            pool.map(
                lambda segment: record_review(Lake(lake.root), decide(segment, based_on=0), LABELS),
                segments,
            )
        )
    assert {result.outcome for result in results} == {"recorded"}
    found = ask(lake, "SELECT segment_id, table_version FROM reviews ORDER BY 1")
    assert [segment for segment, _ in found] == segments
    assert sorted(version for _, version in found) == [1, 2, 3, 4, 5, 6]


def test_a_double_click_at_once_is_one_decision(lake):
    click = decide(based_on=0, decision_id="click")
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda _: record_review(Lake(lake.root), click, LABELS), range(4)))
    outcomes = sorted(result.outcome for result in results)
    assert outcomes == ["recorded", "repeated", "repeated", "repeated"]
    assert len(rows(lake)) == 1


def test_merged_files_say_the_same(lake):
    for number, segment in enumerate(["a1", "a2", "b1"]):
        record_review(lake, decide(segment, based_on=0), LABELS)
        record_review(lake, decide(segment, "reject", based_on=1), LABELS)
        assert len(rows(lake)) == 2 * number + 2
    before = ask(lake, "FROM decisions ORDER BY segment_id")
    assert maintain_table(lake, "reviews").files_after == 1
    assert ask(lake, "FROM decisions ORDER BY segment_id") == before
    with pytest.raises(StaleReviewError):
        record_review(lake, replace(decide("a1"), based_on=1), LABELS)
    record_review(lake, decide("a1", based_on=2), LABELS)
    (newest,) = ask(lake, "SELECT max(table_version) FROM reviews")
    assert newest == (lake.version("reviews"),)
