"""Occasions to train: noted once, said until it is known that they were heard, taken up once.

A crossing is an occasion on which enough new curated masks had come together. Its id is a hash of
what counted as seen before, so that two runs that look at once note the same one; from then on what
it counted is no longer new. That it was said, and that a training took it up, are commits of their
own, each of which can be made once.
"""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import duckdb
from prefect import task
from prefect.cache_policies import NO_CACHE

from storage.lake import Lake
from storage.session import connect
from storage.units import unit_id
from tasks.curation import count_since, last_mark, present_mark
from tasks.data_version import CuratedMark, DataVersion

_CROSSED = """
SELECT crossing_id, dataset, new_masks, needed_masks, reviews_version, annotations_until
FROM crossings
WHERE state = 'crossed' AND (dataset = $dataset OR crossing_id = $crossing_id)
ORDER BY reviews_version DESC, annotations_until DESC, taken_at DESC
"""
_BEGUN = """
SELECT run_id, taken_at FROM crossings
WHERE crossing_id = $crossing_id AND state = 'begun' ORDER BY taken_at
"""
_TRAININGS = "SELECT data_version FROM training_runs WHERE state = 'completed'"


ABANDONED_AFTER = timedelta(hours=48)
"""How long after a run took an occasion up another one may, if nothing was trained for it."""


class UnknownCrossingError(LookupError):
    """No such occasion was noted.

    Attributes:
        crossing_id: What was asked for.
    """

    def __init__(self, crossing_id: str) -> None:
        self.crossing_id = crossing_id
        super().__init__(
            f"No crossing {crossing_id[:80]!r} is noted in this root; "
            "its id is crossing_id in the payload of the event curation.ready"
        )


class OtherDatasetError(ValueError):
    """An occasion of one dataset was to be taken up for another."""

    def __init__(self, crossing_id: str, dataset: str, asked: str) -> None:
        super().__init__(
            f"Crossing {crossing_id[:12]} is one of dataset {dataset!r}, and the run is for "
            f"{asked!r}: name the dataset that curation.ready names"
        )


@dataclass(frozen=True)
class Crossing:
    """An occasion on which enough new curated masks had come together.

    Attributes:
        crossing_id: Its id, 64 hex characters.
        dataset: The dataset.
        new: Curated masks that were new.
        needed: How many it took.
        mark: How far they went.
        attempt: How many runs took it up before, and trained nothing.
    """

    crossing_id: str
    dataset: str
    new: int
    needed: int
    mark: CuratedMark
    attempt: int = 0


@task(name="find-crossing", cache_policy=NO_CACHE, retries=2, retry_delay_seconds=5)
def find_crossing(
    root: str, dataset: str, needed: int, per_label: int, run_id: str | None = None
) -> Crossing | None:
    """Note an occasion to train if there is one, and return the one that is to be said.

    Args:
        root: The data root.
        dataset: The dataset.
        needed: How many new curated masks make training worthwhile.
        per_label: As `count_curated`.
        run_id: The run to name in its row.

    Returns:
        The last one that was noted, by this run or an earlier one; None if it is known that it was
        said, or if a training took it up or has seen its data. One that was taken up long ago, with
        nothing trained, is said again.
    """
    lake = Lake.open(root)
    with connect(lake) as session:
        before, now = last_mark(session, dataset), present_mark(session, dataset)
        found = count_since(session, dataset, before, needed, per_label)
    if found.ready:
        crossing = Crossing(
            crossing_id=unit_id(
                "curation",
                [],
                dataset=dataset,
                reviews_version=before.reviews_version,
                annotations_until=before.annotations_until.isoformat(),
            ),
            dataset=dataset,
            new=found.new,
            needed=needed,
            mark=before | now,
        )
        _take(lake, crossing, "crossed", run_id)
    with connect(lake) as session:
        return _to_be_said(lake, session, dataset)


@task(name="note-said", cache_policy=NO_CACHE, retries=2, retry_delay_seconds=5)
def note_said(root: str, crossing: Crossing, run_id: str | None = None) -> None:
    """Note that `curation.ready` was said of a crossing, and has arrived.

    Args:
        root: The data root.
        crossing: The crossing.
        run_id: The run to name in its row.
    """
    _take(Lake.open(root), crossing, "said", run_id, crossing.attempt)


def begin_crossing(lake: Lake, crossing_id: str, run_id: str, dataset: str | None = None) -> bool:
    """Take an occasion up: only one run at a time may train for it.

    An event may come twice. The same run may ask again, as it does after a retry. If it has trained
    nothing after `ABANDONED_AFTER`, it died, and another run may go on where it was.

    Args:
        lake: The tables.
        crossing_id: From the payload of `curation.ready`.
        run_id: The run that wants to train.
        dataset: What it trains on; None where that does not matter.

    Returns:
        False if another run took it up.

    Raises:
        UnknownCrossingError: If there is no such crossing.
        OtherDatasetError: If it is one of another dataset.
    """
    with connect(lake) as session:
        found = _crossings(session, crossing_id=crossing_id)
        if not found:
            raise UnknownCrossingError(crossing_id)
        if dataset not in (None, found[0].dataset):
            raise OtherDatasetError(crossing_id, found[0].dataset, dataset)
        begun = _begun(session, crossing_id)
        abandoned = _is_abandoned(begun) and not _is_trained(session, found[0])
    if begun and begun[-1][0] == run_id:
        return True
    if begun and not abandoned:
        return False
    if _take(lake, found[0], "begun", run_id, len(begun)):
        return True
    with connect(lake) as session:
        return _begun(session, crossing_id)[-1][0] == run_id


@task(name="take-crossing", cache_policy=NO_CACHE, retries=2, retry_delay_seconds=5)
def take_crossing(root: str, dataset: str, crossing_id: str, run_id: str) -> bool:
    """Take an occasion of a dataset up in a root; as `begin_crossing`."""
    return begin_crossing(Lake.open(root), crossing_id, run_id, dataset)


def _to_be_said(lake: Lake, session: duckdb.DuckDBPyConnection, dataset: str) -> Crossing | None:
    # A training reads all that is curated, so that one is enough for several occasions.
    newest = next(iter(_crossings(session, dataset=dataset)), None)
    if newest is None or _is_trained(session, newest):
        return None
    begun = _begun(session, newest.crossing_id)
    if begun and not _is_abandoned(begun):
        return None
    newest = replace(newest, attempt=len(begun))
    said = lake.has_unit("crossings", _step_id(newest.crossing_id, "said", newest.attempt))
    return None if said else newest


def _is_trained(session: duckdb.DuckDBPyConnection, crossing: Crossing) -> bool:
    """Whether a training has seen what an occasion is about."""
    versions = [DataVersion.from_json(text) for (text,) in session.execute(_TRAININGS).fetchall()]
    return any(
        version is not None
        and version.dataset in (crossing.dataset, None)
        and version.mark.covers(crossing.mark)
        for version in versions
    )


def _is_abandoned(begun: list[tuple[str | None, datetime]]) -> bool:
    return bool(begun) and datetime.now(UTC) - begun[-1][1] > ABANDONED_AFTER


def _crossings(session: duckdb.DuckDBPyConnection, **wanted: str) -> list[Crossing]:
    parameters = {"dataset": None, "crossing_id": None} | wanted
    return [
        Crossing(crossing_id, dataset, new, needed, CuratedMark(reviews_version, until))
        for crossing_id, dataset, new, needed, reviews_version, until in session.execute(
            _CROSSED, parameters
        ).fetchall()
    ]


def _begun(
    session: duckdb.DuckDBPyConnection, crossing_id: str
) -> list[tuple[str | None, datetime]]:
    """The runs that took an occasion up, and when; the last one last."""
    return session.execute(_BEGUN, {"crossing_id": crossing_id}).fetchall()


def _take(lake: Lake, crossing: Crossing, state: str, run_id: str | None, number: int = 0) -> bool:
    """Note a step; False if it was noted before."""
    row: dict[str, Any] = {
        "crossing_id": crossing.crossing_id,
        "state": state,
        "dataset": crossing.dataset,
        "new_masks": crossing.new,
        "needed_masks": crossing.needed,
        "run_id": run_id,
        "taken_at": datetime.now(UTC),
    }
    row |= crossing.mark.parameters()
    return lake.append("crossings", [row], _step_id(crossing.crossing_id, state, number))


def _step_id(crossing_id: str, state: str, number: int) -> str:
    return f"{crossing_id}-{state}" + (f"-{number}" if number else "")
