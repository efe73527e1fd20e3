"""Withdraw what a model, a drop or a run brought, all at once for readers.

Rows count only while their unit is in `units`. So one commit that takes units out of it hides
whatever they wrote; the rows themselves are removed after it, by this run or by the next.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import duckdb
import pyarrow as pa
from deltalake.transaction import AddAction

from storage.data_files import data_files, row_groups
from storage.errors import CommitConflictError, UnknownProvenanceError
from storage.rewriting import remove_units, replace_files, without_units
from storage.rows import rows_to_table
from storage.schemas import TABLES, UNIT_TABLES
from storage.session import connect
from storage.unit_lives import RETRACTIONS, current_life, is_committed
from storage.units import unit_id as make_unit_id

if TYPE_CHECKING:
    from storage.lake import Lake

Kind = Literal["model", "drop", "run"]

_ATTEMPTS = 20
_CHOSEN = {
    "model": "SELECT unit_id FROM stored.units WHERE model_id = $name",
    "run": "SELECT unit_id FROM stored.units WHERE run_id = $name",
    "drop": """
        SELECT unit_id FROM stored.units AS finished WHERE stage IN ('ingest', 'reject') AND (
            subject = $name
            OR EXISTS (
                FROM stored.drops AS sealed WHERE prefix = $name AND drop_id = finished.subject
                AND sealed.dataset = coalesce(finished.dataset, sealed.dataset)))
    """,
}
# Work that has begun: it is under way, or it died, and would be taken up where it stopped.
_BEGUN = {
    "model": """
        SELECT unit_id FROM stored.segments WHERE model_id = $name
        UNION SELECT unit_id FROM stored.image_labels WHERE model_id = $name
    """,
    "run": "SELECT unit_id FROM stored.segments WHERE run_id = $name",
    "drop": """
        SELECT unit_id FROM (
            SELECT unit_id, drop_id, dataset FROM stored.images
            UNION SELECT unit_id, drop_id, dataset FROM stored.annotations
            UNION SELECT unit_id, drop_id, dataset FROM stored.quarantine WHERE stage = 'ingest'
        ) WHERE drop_id = $name OR (drop_id, dataset) IN (
            SELECT (drop_id, dataset) FROM stored.drops WHERE prefix = $name)
    """,
}
_KNOWN = {
    "model": "SELECT DISTINCT model_id FROM stored.units WHERE model_id IS NOT NULL",
    "run": "SELECT DISTINCT run_id FROM stored.units WHERE run_id IS NOT NULL",
    "drop": """
        SELECT DISTINCT prefix FROM stored.drops AS sealed
        JOIN stored.units AS finished ON subject = drop_id
        WHERE stage IN ('ingest', 'reject')
          AND sealed.dataset = coalesce(finished.dataset, sealed.dataset)
    """,
}
_DATASETS = """
SELECT DISTINCT dataset FROM (
    SELECT dataset, unit_id FROM stored.images
    UNION ALL SELECT dataset, unit_id FROM stored.annotations
    UNION ALL SELECT dataset, unit_id FROM stored.quarantine
) SEMI JOIN withdrawn USING (unit_id) ORDER BY dataset
"""
# Images that no drop brings any more.
_GONE = """
CREATE TEMP TABLE gone AS
SELECT image_id FROM stored.images WHERE unit_id IN (FROM withdrawn)
EXCEPT
SELECT image_id FROM stored.images
WHERE unit_id IN (SELECT unit_id FROM stored.units) AND unit_id NOT IN (FROM withdrawn)
"""
# Units that worked on such an image; some of them on others as well.
_DERIVED = """
CREATE TEMP TABLE derived AS
SELECT unit_id, list(image_id) FILTER (image_id NOT IN (FROM gone)) AS kept_ids
FROM (SELECT unit_id, unnest(image_ids) AS image_id FROM stored.units)
WHERE unit_id NOT IN (FROM withdrawn)
GROUP BY unit_id HAVING bool_or(image_id IN (FROM gone))
"""
# Statistics that counted any of it.
_STATISTICS = """
WITH emptied AS (SELECT DISTINCT dataset FROM stored.images WHERE unit_id IN (FROM withdrawn)),
cut AS (
    SELECT DISTINCT model_id, params_id, label_set_id, unnest(image_ids) AS image_id
    FROM stored.units WHERE unit_id IN (FROM withdrawn)
),
recounted AS (
    SELECT DISTINCT dataset, model_id, params_id, label_set_id
    FROM cut JOIN (SELECT DISTINCT dataset, image_id FROM images) USING (image_id)
)
INSERT INTO withdrawn SELECT unit_id FROM stored.units AS counted
WHERE stage = 'stats' AND unit_id NOT IN (FROM withdrawn) AND (
    subject IN (FROM emptied)
    OR EXISTS (
        FROM recounted WHERE dataset = counted.subject
        AND recounted.model_id IS NOT DISTINCT FROM counted.model_id
        AND recounted.params_id IS NOT DISTINCT FROM counted.params_id
        AND recounted.label_set_id IS NOT DISTINCT FROM counted.label_set_id
    )
)
"""
_REFUSED_OF_GONE = """
SELECT drop_id, file_name FROM stored.images
WHERE unit_id IN (FROM withdrawn) AND image_id IN (FROM gone)
"""


@dataclass(frozen=True)
class Remainder:
    """What stays of a unit that worked on withdrawn images and on others: a unit of its own.

    Attributes:
        unit_id: The new unit.
        replaces: The unit that it is the rest of.
        life: What its rows are committed with; see `storage.unit_lives`.
        row: Its row in `units`.
        rows: Its rows by table.
    """

    unit_id: str
    replaces: str
    life: int
    row: dict[str, Any]
    rows: dict[str, pa.Table]


@dataclass(frozen=True)
class RetractionPlan:
    """What a retraction removes.

    Attributes:
        kind: What it goes by.
        name: Which model, drop or run.
        units: Number of units to withdraw, by stage.
        rows: Number of rows to remove, by table; of `units` as well.
        images: Number of images that no drop brings any more.
        datasets: The datasets whose drops it takes back.
        begun: Number of units that are under way or died, and whose rows no reader sees.
        leftovers: Units that an earlier retraction withdrew, and whose rows it did not remove.
        unit_ids: The units to withdraw.
        remainders: What is to stay of some of them.
        version: The version of `units` that this was found in.
    """

    kind: Kind
    name: str
    units: dict[str, int]
    rows: dict[str, int]
    images: int
    datasets: list[str]
    begun: int
    leftovers: int
    unit_ids: tuple[str, ...] = field(repr=False)
    remainders: tuple[Remainder, ...] = field(repr=False)
    version: int | None = field(repr=False)


def plan_retraction(lake: "Lake", kind: Kind, name: str) -> RetractionPlan:
    """Find what a model, a drop or a run brought; nothing is changed.

    Of a drop, that is its images, annotations and quarantine rows, and whatever was made of images
    that no other drop brings; of a model its segments; of a run all that it wrote, and what was
    made of its images. Statistics that counted any of it go too: the next ones count anew.

    Args:
        lake: The tables.
        kind: What to go by.
        name: A model id, a run id, or of a drop its id or place, as in the tables.

    Raises:
        UnknownProvenanceError: If no finished unit comes from it, and none is left over.
    """
    version = lake.version("units")  # not newer than what the session sees
    with connect(lake) as session:
        session.execute("CREATE TEMP TABLE withdrawn (unit_id VARCHAR)")
        session.execute(f"INSERT INTO withdrawn {_CHOSEN[kind]}", {"name": name})
        begun = _begun(lake, session, kind, name)
        session.execute("INSERT INTO withdrawn SELECT unnest($begun::VARCHAR[])", {"begun": begun})
        leftovers = _left_over(lake, session)
        if not _ids(session) and not leftovers:
            known = [row[0] for row in session.execute(_KNOWN[kind]).fetchall()]
            raise UnknownProvenanceError(kind, name, known)
        session.execute(_GONE)
        session.execute(_DERIVED)
        session.execute("INSERT INTO withdrawn SELECT unit_id FROM derived")
        session.execute(_STATISTICS)
        stages = session.execute(
            "SELECT stage, count(*) FROM stored.units WHERE unit_id IN (FROM withdrawn)"
            " GROUP BY stage ORDER BY stage"
        ).fetchall()
        datasets = [name for (name,) in session.execute(_DATASETS).fetchall()]
        remainders = _remainders(lake, session)
        rows = _rows_by_table(session, remainders)
        (images,) = session.execute("SELECT count(*) FROM gone").fetchall()[0]
        return RetractionPlan(
            kind=kind,
            name=name,
            units=dict(stages),
            rows=rows,
            images=images,
            datasets=datasets,
            begun=len(begun),
            leftovers=len(leftovers),
            unit_ids=tuple(_ids(session)),
            remainders=tuple(remainders),
            version=version,
        )


def retract(lake: "Lake", plan: RetractionPlan) -> dict[str, int]:
    """Carry a retraction out. If it dies, any later one removes what is left.

    The same work can be done again afterwards, and gives rows again. Runs that are under way are
    not stopped: what they finish later stays.

    Args:
        lake: The tables.
        plan: What to remove. If anything was finished or withdrawn since, what is to be removed is
            found again, by the same model, drop or run.

    Returns:
        How many rows were removed, by table; with those that an earlier retraction left over.

    Raises:
        DamagedFileError: If a file that may hold such rows is damaged.
        CommitConflictError: If other writers won every attempt.
    """
    for _ in range(_ATTEMPTS):
        for remainder in plan.remainders:
            for table, rows in remainder.rows.items():
                lake.append(table, rows, remainder.unit_id, remainder.life)
        hidden = _hide(lake, plan)
        if hidden is not None:
            break
        try:
            plan = plan_retraction(lake, plan.kind, plan.name)
        except UnknownProvenanceError:
            return {}  # another retraction was quicker
    else:
        raise CommitConflictError("units", plan.name, _ATTEMPTS)
    removed = {"units": hidden}
    with connect(lake) as session:
        candidates = {*plan.unit_ids, *_left_over(lake, session)}
    withdrawn = _withdrawn(lake, candidates)
    for table in sorted(UNIT_TABLES):
        removed[table] = remove_units(lake, table, withdrawn) if withdrawn else 0
    return {table: rows for table, rows in removed.items() if rows}


def _hide(lake: "Lake", plan: RetractionPlan) -> int | None:
    """Take the units out of `units` and put the remainders in, in one commit.

    Returns:
        How many rows that were; None if the table is not as it was planned for.
    """
    if not plan.unit_ids:
        return 0
    stored = lake.table_to_write("units")
    if stored.version() != (plan.version or 0):
        return None
    lives: dict[str, tuple[int | None, int]] = {}
    for unit_id in plan.unit_ids:
        found = stored.transaction_version(unit_id)
        # What was begun, but not finished, is withdrawn as if it had been.
        lives[unit_id] = (found, found + 1 if is_committed(found) else (found or 0) + 2)
    old, added, removed = without_units(lake, "units", stored, set(lives))
    for remainder in plan.remainders:
        found = stored.transaction_version(remainder.unit_id)
        lives[remainder.unit_id] = (found, remainder.life)
        added += _stored_unit(lake, remainder)
    retractions = stored.transaction_version(RETRACTIONS)
    lives[RETRACTIONS] = (retractions, (retractions or 0) + 1)
    about = {"segmill": "retract", "kind": plan.kind, "name": plan.name, "units": removed}
    done = replace_files(
        lake, "units", old, added, about=about, data_change=True, lives=lives, at=stored.version()
    )
    return removed if done else None


def _stored_unit(lake: "Lake", remainder: Remainder) -> list[AddAction]:
    data = rows_to_table("units", TABLES["units"], [remainder.row], remainder.unit_id)
    files = data_files(row_groups(data), data.schema)
    return [lake.store_file("units", file, data_change=True) for file in files]


def _begun(lake: "Lake", session: duckdb.DuckDBPyConnection, kind: Kind, name: str) -> list[str]:
    """Units that stored rows of it, and are neither finished nor withdrawn."""
    found = session.execute(
        f"SELECT DISTINCT unit_id FROM ({_BEGUN[kind]})"
        " WHERE unit_id NOT IN (SELECT unit_id FROM stored.units) ORDER BY unit_id",
        {"name": name},
    ).fetchall()
    unit_ids = [unit_id for (unit_id,) in found]
    withdrawn = _withdrawn(lake, unit_ids)
    return [unit_id for unit_id in unit_ids if unit_id not in withdrawn]


def _left_over(lake: "Lake", session: duckdb.DuckDBPyConnection) -> list[str]:
    """Withdrawn units whose rows are still stored."""
    found: set[str] = set()
    for table in UNIT_TABLES:
        unfinished = session.execute(
            f'SELECT DISTINCT unit_id FROM stored."{table}"'
            " WHERE unit_id NOT IN (SELECT unit_id FROM stored.units)"
        ).fetchall()
        found.update(unit_id for (unit_id,) in unfinished)
    # The others are at work, or died at it.
    return sorted(_withdrawn(lake, found))


def _withdrawn(lake: "Lake", unit_ids: Iterable[str]) -> dict[str, int]:
    """Of some units those that are withdrawn, with the version that says so."""
    units = lake.table("units")
    if units is None:
        return {}
    versions = {unit_id: units.transaction_version(unit_id) for unit_id in unit_ids}
    return {
        unit_id: version
        for unit_id, version in versions.items()
        if version is not None and not is_committed(version)
    }


def _ids(session: duckdb.DuckDBPyConnection) -> list[str]:
    return [row[0] for row in session.execute("FROM withdrawn ORDER BY unit_id").fetchall()]


def _remainders(lake: "Lake", session: duckdb.DuckDBPyConnection) -> list[Remainder]:
    split = session.sql(
        "SELECT units.*, kept_ids FROM stored.units JOIN derived USING (unit_id)"
        " WHERE len(kept_ids) > 0 ORDER BY unit_id"
    ).to_arrow_table()
    refused = set(session.execute(_REFUSED_OF_GONE).fetchall()) if split.num_rows else set()
    remainders = []
    for row in split.to_pylist():
        replaces, kept = row.pop("unit_id"), sorted(row.pop("kept_ids"))
        rows = {
            table: _kept_rows(session, table, replaces, kept, refused)
            for table in sorted(UNIT_TABLES)
        }
        if row["device_seconds"] is not None:
            # Its images' share: what was not kept must not make the others look slow.
            row["device_seconds"] *= len(kept) / len(row["image_ids"])
        row |= {"image_ids": kept, "inputs": len(kept), "outputs": rows["segments"].num_rows}
        rows = {table: found for table, found in rows.items() if found.num_rows}
        # With other rows, should the unit be withdrawn, done again, and split again.
        version = lake.unit_version(replaces)
        unit_id = make_unit_id("remainder", kept, of=replaces, version=version)
        life = current_life(lake.unit_version(unit_id), None)
        remainders.append(Remainder(unit_id, replaces, life, row, rows))
    return remainders


def _kept_rows(
    session: duckdb.DuckDBPyConnection,
    table: str,
    unit_id: str,
    image_ids: list[str],
    refused: set[tuple[str, str]],
) -> pa.Table:
    parameters: dict[str, Any] = {"unit_id": unit_id}
    condition = ""
    if "image_id" in TABLES[table].names:
        condition = " AND list_contains($image_ids::VARCHAR[], image_id)"
        parameters["image_ids"] = image_ids
    found = session.sql(
        f'SELECT * EXCLUDE (unit_id) FROM stored."{table}" WHERE unit_id = $unit_id{condition}',
        params=parameters,
    ).to_arrow_table()
    if table == "quarantine":
        places = zip(found["drop_id"].to_pylist(), found["file"].to_pylist(), strict=True)
        found = found.filter(pa.array([place not in refused for place in places], pa.bool_()))
    return found


def _rows_by_table(
    session: duckdb.DuckDBPyConnection, remainders: list[Remainder]
) -> dict[str, int]:
    counts = {}
    for table in sorted({"units", *UNIT_TABLES}):
        (stored,) = session.execute(
            f'SELECT count(*) FROM stored."{table}" WHERE unit_id IN (FROM withdrawn)'
        ).fetchall()[0]
        kept = sum(remainder.rows[table].num_rows for remainder in remainders
                   if table in remainder.rows)  # fmt: skip
        if stored - kept:
            counts[table] = stored - kept
    return counts
