"""Rows on their way into a table: completed, checked against its schema, and sorted."""

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable

from storage.data_files import has_nan
from storage.errors import RowsRefusedError, SchemaDriftError
from storage.schemas import TABLES

SORT_COLUMNS = ("label", "category", "image_id")


def rows_to_table(
    table: str, schema: pa.Schema, rows: Sequence[Mapping[str, Any]] | pa.Table, unit_id: str
) -> pa.Table:
    """Make rows into Arrow data that fits a table.

    Args:
        table: Name of the table, for messages.
        schema: Schema of the table.
        rows: One mapping per row, or Arrow data. Nullable columns may be missing.
        unit_id: Written into the column `unit_id`, where the table has one.

    Returns:
        All columns of the schema in its order, sorted by label and image: the statistics of the
        file's row groups then let readers skip most of it.

    Raises:
        RowsRefusedError: If a column is unknown, a value has the wrong type, a required value is
            missing or NaN, or rows belong to another unit.
    """
    data = rows if isinstance(rows, pa.Table) else _from_mappings(table, schema, rows)
    if unknown := sorted(set(data.column_names) - set(schema.names)):
        raise RowsRefusedError(table, f"unknown columns {', '.join(unknown)}")
    columns = []
    for field in schema:
        if field.name == "unit_id":
            columns.append(_unit_column(table, data, unit_id))
        elif field.name in data.column_names:
            columns.append(_cast(table, data.column(field.name), field))
        else:
            columns.append(pa.nulls(data.num_rows, field.type))
        if not field.nullable and columns[-1].null_count:
            raise RowsRefusedError(table, f"column {field.name} is required, but is null")
        # Where null is allowed a file has null for it.
        if not field.nullable and has_nan(columns[-1]):
            raise RowsRefusedError(table, f"column {field.name} is required, but is NaN")
    return in_order(pa.Table.from_arrays(columns, schema=schema))


def in_order(rows: pa.Table) -> pa.Table:
    """Sort rows by label and image, as a file has them."""
    order = [name for name in SORT_COLUMNS if name in rows.column_names]
    # Moving every string of a large unit takes longer than to write it: most come in order.
    if not order or _is_sorted([rows.column(name) for name in order]):
        return rows
    return rows.sort_by([(name, "ascending") for name in order])


def check_stored_schema(table: str, stored: DeltaTable) -> None:
    """Compare a stored table with its schema in this version of the code.

    Columns that only one of the two knows are fine: the other reads null.

    Raises:
        SchemaDriftError: If a column that both know has another type.
    """
    found = _stored_schema(stored)
    for field in TABLES[table]:
        position = found.get_field_index(field.name)
        if position < 0:
            continue
        kind = found.field(position).type
        if not _same_kind(kind, field.type):
            raise SchemaDriftError(table, field.name, str(kind), str(field.type))


def columns_missing(table: str, stored: DeltaTable) -> bool:
    """Tell whether the stored table lacks columns that this version of the code writes."""
    return not set(TABLES[table].names) <= set(_stored_schema(stored).names)


def _from_mappings(table: str, schema: pa.Schema, rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    # from_pylist would drop keys that the schema does not know without a word.
    if unknown := sorted({key for row in rows for key in row} - set(schema.names)):
        raise RowsRefusedError(table, f"unknown columns {', '.join(unknown)}")
    columns = []
    for field in schema:
        try:
            columns.append(_array([row.get(field.name) for row in rows], field.type))
        except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
            raise RowsRefusedError(
                table, f"column {field.name} should be {field.type}: {error}"
            ) from error
    return pa.Table.from_arrays(columns, names=schema.names)


def _array(values: list[Any], kind: pa.DataType) -> pa.Array:
    if pa.types.is_integer(kind):
        # Arrow cuts off the fraction of a Python float that is asked to be an integer.
        return pa.array(values).cast(kind)
    return pa.array(values, kind)


def _is_sorted(columns: list[pa.ChunkedArray]) -> bool:
    """Tell whether rows are in ascending order of some columns, the first counting most."""
    settled = pa.repeat(pa.scalar(False), max(0, len(columns[0]) - 1))
    for column in columns:
        if column.null_count:
            return False
        before, after = column.slice(0, len(settled)), column.slice(1)
        if pc.any(pc.and_(pc.invert(settled), pc.greater(before, after))).as_py():
            return False
        settled = pc.or_(settled, pc.less(before, after))
    return True


def _unit_column(table: str, data: pa.Table, unit_id: str) -> pa.Array:
    if "unit_id" in data.column_names:
        others = set(data.column("unit_id").unique().to_pylist()) - {unit_id, None}
        if others:
            raise RowsRefusedError(table, f"rows of unit {others.pop()} in unit {unit_id}")
    return pa.repeat(pa.scalar(unit_id), data.num_rows)


def _cast(table: str, values: pa.ChunkedArray, field: pa.Field) -> pa.ChunkedArray:
    try:
        return values.cast(field.type)
    except pa.ArrowException as error:
        raise RowsRefusedError(
            table, f"column {field.name} should be {field.type}: {error}"
        ) from error


def _stored_schema(stored: DeltaTable) -> pa.Schema:
    return pa.schema(stored.schema().to_arrow())


def _same_kind(stored: pa.DataType, expected: pa.DataType) -> bool:
    # Names and nullability of list elements differ between writers without meaning anything.
    if pa.types.is_list(stored) and pa.types.is_list(expected):
        return _same_kind(stored.value_type, expected.value_type)
    if pa.types.is_struct(stored) and pa.types.is_struct(expected):
        return [field.name for field in stored] == [field.name for field in expected] and all(
            _same_kind(left.type, right.type) for left, right in zip(stored, expected, strict=True)
        )
    return bool(stored == expected)
