"""A decision of a person about a segment, and whether it makes sense."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from storage.lake import Lake
from storage.schemas.curation import RULES_PREFIX
from storage.session import connect
from tasks.nearest_name import unknown_name
from vision.masks import RleError, parse_rle, rle_area

DECISIONS = ("accept", "reject", "relabel", "fix", "reopen")

_LONGEST_NAME = 200
_SHOWN = 20
_SEGMENTS = """
SELECT segment_id, image_id, any_value(width_px), any_value(height_px)
FROM segments JOIN images USING (image_id)
WHERE list_contains($segment_ids::VARCHAR[], segment_id)
GROUP BY segment_id, image_id
"""


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What a person says of a segment. It says all: nothing of an earlier one remains.

    Attributes:
        decision_id: Chosen by the client, another one for each decision. The same decision that
            is sent again, with the same id, is recorded once.
        segment_id: The segment.
        decision: `accept` (mask and label are right), `reject` (the mask is no object), `relabel`
            (the mask is right, the label is another), `fix` (the mask is another, and the label
            too if one is given), or `reopen` (undecided again, or as rules decide).
        reviewer: Who decides.
        label: The other label.
        mask: The other mask at the size of the image: a COCO RLE object, or compressed counts.
        based_on: Number of the last decision of a person about the segment that the reviewer
            knows of, 0 for none; None takes what there is.
    """

    decision_id: str
    segment_id: str
    decision: str
    reviewer: str
    label: str | None = None
    mask: Mapping[str, Any] | str | bytes | None = None
    based_on: int | None = None


class ReviewsRefusedError(ValueError):
    """Decisions that cannot be recorded; nothing was.

    Attributes:
        problems: What is wrong, by the place of the decision, from 0.
    """

    def __init__(self, problems: Mapping[int, str]) -> None:
        self.problems = dict(problems)
        lines = [f"decision {place + 1}: {problem}" for place, problem in problems.items()]
        more = [f"and {len(lines) - _SHOWN:,} more"] if len(lines) > _SHOWN else []
        super().__init__(
            "\n  ".join(["nothing was recorded:", *lines[:_SHOWN], *more])
            if len(lines) > 1
            else next(iter(problems.values()))
        )


@dataclass(frozen=True)
class CheckedDecision:
    """A decision that can be recorded.

    Attributes:
        decision: The decision.
        image_id: Image of its segment.
        rle: Its mask, as compressed COCO counts; None if it has none.
        area_px: Pixels in the mask.
    """

    decision: Decision
    image_id: str
    rle: str | None
    area_px: int | None

    @property
    def content(self) -> tuple[str | None, ...]:
        """All of it but its id and what it is based on."""
        decision = self.decision
        return (decision.segment_id, decision.decision, decision.label, decision.reviewer, self.rle)


class _RefusedError(ValueError):
    """Why one decision cannot be recorded."""


def checked_decisions(
    lake: Lake, decisions: Sequence[Decision], labels: Collection[str]
) -> list[CheckedDecision]:
    """Check decisions, each about another segment.

    Args:
        lake: The tables.
        decisions: What was decided.
        labels: The labels that may be given.

    Returns:
        The decisions, in order.

    Raises:
        ReviewsRefusedError: If some make no sense; all of them are told.
    """
    segments = Counter(decision.segment_id for decision in decisions)
    ids = Counter(decision.decision_id for decision in decisions)
    with connect(lake) as session:
        rows = session.execute(_SEGMENTS, {"segment_ids": list(segments)}).fetchall()
    known = {segment_id: facts for segment_id, *facts in rows}
    checked: list[CheckedDecision] = []
    problems: dict[int, str] = {}
    for place, decision in enumerate(decisions):
        try:
            if segments[decision.segment_id] > 1:
                raise _RefusedError(f"segment {decision.segment_id!r} is there more than once")
            if ids[decision.decision_id] > 1:
                raise _RefusedError(f"the id {decision.decision_id!r} is there more than once")
            checked.append(_checked(decision, labels, known.get(decision.segment_id)))
        except _RefusedError as error:
            problems[place] = str(error)
    if problems:
        raise ReviewsRefusedError(problems)
    return checked


def _checked(
    decision: Decision, labels: Collection[str], segment: Sequence[Any] | None
) -> CheckedDecision:
    for problem in _problems(decision, labels):
        raise _RefusedError(problem)
    if segment is None:
        raise _RefusedError(f"no such segment: {decision.segment_id!r}")
    image_id, width_px, height_px = segment
    if decision.mask is None:
        return CheckedDecision(decision, image_id, None, None)
    try:
        rle = _rle(decision.mask, height_px, width_px)
    except RleError as error:
        raise _RefusedError(
            f"expected a mask of {width_px} x {height_px} px, as the image has: {error}"
        ) from error
    area_px = rle_area(rle)
    if area_px == 0:
        raise _RefusedError("the mask has no pixel; reject the segment instead")
    return CheckedDecision(decision, image_id, rle, area_px)


def _problems(decision: Decision, labels: Collection[str]) -> Iterator[str]:
    names = (("decision_id", decision.decision_id), ("reviewer", decision.reviewer))
    for name, value in (*names, ("segment_id", decision.segment_id)):
        if not (value.strip() and value.isprintable() and len(value) <= _LONGEST_NAME):
            yield f"expected a {name} of 1 to {_LONGEST_NAME} characters, but got {value[:80]!r}"
    if decision.reviewer.startswith(RULES_PREFIX):
        yield f"a person's name must not begin with {RULES_PREFIX!r}, as {decision.reviewer!r} does"
    if decision.decision not in DECISIONS:
        yield unknown_name("decision", decision.decision, DECISIONS)
    if decision.decision == "relabel" and decision.label is None:
        yield "relabel needs a label"
    if decision.label is not None:
        if decision.decision not in ("relabel", "fix"):
            yield f"{decision.decision} takes no label; relabel does"
        if decision.label not in labels:
            yield unknown_name("label", decision.label, labels)
    if decision.decision == "fix" and decision.mask is None:
        yield "fix needs a mask"
    if decision.decision != "fix" and decision.mask is not None:
        yield f"{decision.decision} takes no mask; fix does"
    if decision.based_on is not None and decision.based_on < 0:
        yield f"expected based_on to be 0 or more, but got {decision.based_on}"


def _rle(mask: Mapping[str, Any] | str | bytes, height_px: int, width_px: int) -> str:
    if not isinstance(mask, Mapping):
        mask = {"size": [height_px, width_px], "counts": mask}
    return parse_rle(mask, height_px, width_px).decode("ascii")
