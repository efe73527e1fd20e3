"""docs/tables.md, from what the columns say of themselves: `python -m storage.schemas.document`."""

from pathlib import Path

import pyarrow as pa

from storage.schemas import MASK_CONVENTION, TABLES, UNIT_TABLES, VIEWS

PATH = Path(__file__).parents[2] / "docs" / "tables.md"

_HEAD = f"""# The tables

Delta tables below `ROOT/lake/`, one folder each. `python -m storage.schemas.document` writes this
page.

{MASK_CONVENTION}

Rows of a table marked *by unit* count only when their `unit_id` is in `units`: a unit of work
writes its rows first and its row in `units` last. `segmill sql` shows those rows only, and all that
is stored as `stored.TABLE`.

A number that is not known is null, never NaN: NaN is stored as null, and refused where null is not
allowed.
"""

_VIEWS = """# Views

`segmill sql` shows them beside the tables; their SQL is in `storage/queries/`.
"""


def tables_document() -> str:
    """The page, in Markdown."""
    tables = [_table(name, schema) for name, schema in TABLES.items()]
    views = [_table(name, schema) for name, schema in VIEWS.items()]
    return "\n".join([_HEAD, *tables, _VIEWS, *views])


def _table(name: str, schema: pa.Schema) -> str:
    by_unit = " *By unit.*" if name in UNIT_TABLES else ""
    rows = [
        f"| {field.name} | {_kind(field)} | {_text(field, b'unit')} | {_text(field, b'meaning')} |"
        for field in schema
    ]
    meaning = schema.metadata[b"meaning"].decode()
    head = ["| column | type | unit | meaning |", "|---|---|---|---|"]
    return "\n".join([f"## {name}\n", f"{meaning}{by_unit}\n", *head, *rows, ""])


def _kind(field: pa.Field) -> str:
    kind = str(field.type).replace("<item: ", "<").replace("timestamp[us, tz=UTC]", "timestamp")
    return f"`{kind}`{', may be null' if field.nullable else ''}"


def _text(field: pa.Field, key: bytes) -> str:
    return bytes((field.metadata or {}).get(key, b"")).decode()


if __name__ == "__main__":
    PATH.write_text(tables_document(), encoding="utf-8")
