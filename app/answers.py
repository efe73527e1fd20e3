"""What commands print when they answer with rows: a table, CSV, JSON or Parquet."""

import csv
import io
import json
import re
import sys
from decimal import Decimal
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from app.options import answer_console

if TYPE_CHECKING:
    import pyarrow as pa

Format = Annotated[
    Literal["table", "csv", "json", "parquet"],
    typer.Option(
        "--format",
        help="How to answer. In csv, text that a spreadsheet would run as a formula gets a ' "
        "before it, except in the column rle.",
    ),
]
Output = Annotated[
    Path | None, typer.Option("--output", "-o", help="Write to this file, not to stdout.")
]

# A spreadsheet runs a cell that begins like this as a formula; so do some with the wide forms.
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
# COCO counts may begin like one, and are other counts with anything put before them.
_EXACT_COLUMNS = {"rle"}
_SHA256 = re.compile(r"[0-9a-f]{64}")
_SHORT_ID = 12


def write_answer(
    found: "pa.Table", output_format: str, output: Path | None, *, short_ids: bool = False
) -> None:
    """Answer with rows, on stdout or in a file.

    Args:
        found: The rows.
        output_format: `table`, `csv`, `json` or `parquet`.
        output: The file; None is stdout.
        short_ids: Whether a table on stdout shows the start only of a sha256.

    Raises:
        OSError: If the file cannot be written.
    """
    if output_format == "table" and output is None:
        from app.terminal import print_table

        shown = [[_shown(value, short_ids) for value in row] for row in _rows(found)]
        print_table(found.column_names, shown, answer_console())
        return
    data = _encoded(found, output_format)
    if output is not None:
        output.write_bytes(data)
    else:
        sys.stdout.buffer.write(data)


def _rows(found: "pa.Table") -> list[tuple[Any, ...]]:
    # By column: a mapping would keep one of two columns of the same name.
    columns = [column.to_pylist() for column in found.columns]
    return list(zip(*columns, strict=True)) if columns else []


def _shown(value: Any, short_ids: bool) -> Any:
    if short_ids and isinstance(value, str) and _SHA256.fullmatch(value):
        return f"{value[:_SHORT_ID]}…"
    return _number(value) if isinstance(value, Decimal) else value


def _encoded(found: "pa.Table", output_format: str) -> bytes:
    if output_format == "parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        sink = pa.BufferOutputStream()
        pq.write_table(found, sink, compression="zstd")
        return bytes(sink.getvalue())
    rows = _rows(found)
    if output_format == "json":
        return (_json([_keyed(found.column_names, row) for row in rows]) + "\n").encode()
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([_disarmed(name) for name in found.column_names])
    for row in rows:
        writer.writerow(map(_csv_cell, found.column_names, row))
    return text.getvalue().encode()


def _keyed(names: list[str], row: tuple[Any, ...]) -> dict[str, Any]:
    """A row by name; of columns with one name the later ones get a number, as in DuckDB."""
    keyed: dict[str, Any] = {}
    for name, value in zip(names, row, strict=True):
        key, number = name, 0
        while key in keyed:
            number += 1
            key = f"{name}_{number}"
        keyed[key] = _plain(value)
    return keyed


def _csv_cell(column: str, value: Any) -> Any:
    if isinstance(value, list | dict):
        return _json(_plain(value))
    if isinstance(value, bytes):
        value = value.decode("ascii", "backslashreplace")
    return _disarmed(value) if isinstance(value, str) and column not in _EXACT_COLUMNS else value


def _disarmed(text: str) -> str:
    return f"'{text}" if text.startswith(_FORMULA_STARTS) else text


def _plain(value: Any) -> Any:
    """A value as JSON has it: numbers as numbers, and null for what is none."""
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, Decimal):
        return _number(value)
    if isinstance(value, float) and not isfinite(value):
        return None
    if isinstance(value, bytes):
        return value.decode("ascii", "backslashreplace")
    return value


def _number(value: Decimal) -> int | float:
    return int(value) if value == value.to_integral_value() else float(value)


def _json(value: Any) -> str:
    return json.dumps(value, default=str, ensure_ascii=False)
