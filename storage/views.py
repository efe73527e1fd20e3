"""The views of a session: what SQL sees of each table."""

from collections.abc import Collection, Mapping

import pyarrow as pa
from deltalake import DeltaTable

from storage.errors import SchemaDriftError
from storage.rows import check_stored_schema
from storage.schemas import TABLES, UNIT_TABLES


def stored_rows(
    table: str,
    stored: DeltaTable | None,
    source: str | None,
    in_files: Collection[str] | None = None,
) -> str:
    """SQL of the rows that are stored, with the columns and types of this version's schema.

    Args:
        table: Name of the table.
        stored: The table; None if it was never written.
        source: SQL of what is in its files; None if there are none.
        in_files: The columns that the files have; None if they have all of the table's.
    """
    if stored is not None and (drift := schema_drifts({table: stored}).get(table)):
        # Whoever reads this table is told why not; the others can be read.
        source = f"(SELECT error({quoted(str(drift))}) AS reason) WHERE reason IS NULL"
        stored = None
    known = set() if stored is None else set(pa.schema(stored.schema().to_arrow()).names)
    if in_files is not None:
        known &= set(in_files)
    columns = ", ".join(
        f"CAST({_quoted_name(field.name) if field.name in known and source else 'NULL'} "
        f"AS {_sql_type(field.type)}) AS {_quoted_name(field.name)}"
        for field in TABLES[table]
    )
    return f"SELECT {columns} FROM {source}" if source else f"SELECT {columns} WHERE false"


_CLAIMS = """
    SELECT unnest(image_ids) AS image_id, unit_id, committed_at, model_id, params_id, label_set_id
    FROM stored.units WHERE stage = 'segment'
"""
MAY_BE_CLAIMED_TWICE = f"""
    SELECT count(*) <> count(DISTINCT hash(image_id, model_id, params_id, label_set_id))
    FROM ({_CLAIMS})
"""
"""SQL that is false if no image was finished by two units, with the same models and labels."""

SUPERSEDED = f"""
    SELECT image_id, unit_id FROM (SELECT DISTINCT * FROM ({_CLAIMS}))
    QUALIFY row_number() OVER (
        PARTITION BY image_id, model_id, params_id, label_set_id ORDER BY committed_at, unit_id
    ) > 1
"""
"""SQL of the images of units that another unit finished before."""


FIRST_OF_IMAGE = (
    "1 = row_number() OVER (PARTITION BY dataset, image_id ORDER BY ingested_at, unit_id)"
)
"""SQL of the row of an image that counts: of drops that brought it the first that is there."""


def committed_rows(table: str, superseded: str | None = None) -> str:
    """SQL of the rows that count: of `stored`'s views, those of finished units.

    Args:
        table: Name of the table.
        superseded: Relation of `SUPERSEDED`. None if it is empty: even to find that out for each
            query takes as long as the rest of one.
    """
    rows = f'SELECT * FROM stored."{table}"'
    if table not in UNIT_TABLES:
        return rows
    if table in ("segments", "image_labels"):
        # Two runs at once may have cut one image in batches of different members: then the first
        # counts.
        others = f" ANTI JOIN {superseded} USING (image_id, unit_id)" if superseded else ""
        return f"{rows} SEMI JOIN stored.units USING (unit_id){others}"
    committed = f"{rows} WHERE unit_id IN (SELECT unit_id FROM stored.units)"
    if table == "images":
        return f"{committed} QUALIFY {FIRST_OF_IMAGE}"
    if table == "annotations":
        # The files at a place may have been changed: then they are another drop. What was sealed
        # for two datasets may be ingested in one of them only; an older unit does not say in which.
        return (
            "WITH finished AS (SELECT subject, dataset FROM stored.units WHERE stage = 'ingest'),"
            " ingested AS (SELECT drops.dataset, prefix, drop_id, sealed_at"
            "  FROM stored.drops AS drops JOIN finished ON subject = drop_id"
            "  WHERE coalesce(finished.dataset, drops.dataset) = drops.dataset),"
            " newest AS (SELECT dataset, max_by(drop_id, (sealed_at, drop_id)) AS drop_id"
            "  FROM ingested GROUP BY dataset, prefix),"
            " replaced AS (SELECT dataset, drop_id FROM ingested"
            "  EXCEPT SELECT dataset, drop_id FROM newest)"
            f" {committed} AND (dataset, drop_id) NOT IN (SELECT (dataset, drop_id) FROM replaced)"
        )
    return committed


def schema_drifts(stored: Mapping[str, DeltaTable]) -> dict[str, SchemaDriftError]:
    """By table, what is wrong with those that have a column of another type."""
    found = {}
    for table, opened in stored.items():
        try:
            check_stored_schema(table, opened)
        except SchemaDriftError as error:
            found[table] = error
    return found


def _sql_type(kind: pa.DataType) -> str:
    if pa.types.is_list(kind):
        return _sql_type(kind.value_type) + "[]"
    if pa.types.is_struct(kind):
        members = ", ".join(f"{_quoted_name(field.name)} {_sql_type(field.type)}" for field in kind)
        return f"STRUCT({members})"
    if pa.types.is_timestamp(kind):
        return "TIMESTAMPTZ"
    return {
        pa.string(): "VARCHAR",
        pa.int64(): "BIGINT",
        pa.float64(): "DOUBLE",
        pa.bool_(): "BOOLEAN",
    }[kind]


def quoted(text: str) -> str:
    """Text as SQL writes it."""
    return "'" + text.replace("'", "''") + "'"


def _quoted_name(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
