"""How a column is declared: its type, and in words what it means and in which unit."""

import pyarrow as pa

TIMESTAMP = pa.timestamp("us", tz="UTC")
STRINGS = pa.list_(pa.string())
NUMBERS = pa.list_(pa.float64())

MASK_CONVENTION = (
    "Masks are COCO run-length encodings, column-major, as pycocotools rasterises polygons; "
    "pixel (0, 0) is the top left one; boxes are x, y, width, height in pixels."
)


def column(
    name: str, kind: pa.DataType, meaning: str, unit: str = "", *, nullable: bool = False
) -> pa.Field:
    """Declare a column.

    Args:
        name: Name of the column.
        kind: Arrow type.
        meaning: One sentence for the reader of the table.
        unit: `px`, `s`, `bytes`, `0-1`...; empty where there is none.
        nullable: Whether the value may be unknown.
    """
    return pa.field(name, kind, nullable, metadata={"meaning": meaning, "unit": unit})


def table_schema(meaning: str, *columns: pa.Field) -> pa.Schema:
    """Put columns together to a table's schema that says what one row is."""
    return pa.schema(columns, metadata={"meaning": meaning, "masks": MASK_CONVENTION})


UNIT_ID = column("unit_id", pa.string(), "The unit of work that wrote the row.", "sha256")
