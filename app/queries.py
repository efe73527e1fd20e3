"""segmill sql: ask the tables."""

import csv
import io
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from app.options import Root, answer_console, settings_for, table_version

if TYPE_CHECKING:
    import pyarrow as pa

# A spreadsheet runs a cell that begins like this as a formula.
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
# COCO counts may begin like one, and are other counts with anything put before them.
_EXACT_COLUMNS = {"rle"}


def sql(
    query: Annotated[str, typer.Argument(help="One SELECT, DESCRIBE, SUMMARIZE or SHOW.")],
    output_format: Annotated[
        Literal["table", "csv", "json", "parquet"],
        typer.Option(
            "--format",
            help="How to answer. In csv, text that a spreadsheet would run as a formula gets a ' "
            "before it, except in the column rle.",
        ),
    ] = "table",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write to this file, not to stdout.")
    ] = None,
    as_of: Annotated[
        list[str] | None,
        typer.Option(metavar="TABLE=VERSION", help="Read an older version of a table."),
    ] = None,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds a query may take.")] = 300,
    root: Root = None,
) -> None:
    """Ask the tables in SQL: drops, images, annotations, segments, label_stats, quarantine, units.

    Examples:
      segmill sql "SELECT label, count(*) FROM segments GROUP BY label"

      segmill sql "SELECT * FROM quarantine" --format csv > quarantine.csv

      segmill sql "SELECT count(*) FROM segments" --as-of segments=3
    """
    from storage.lake import Lake
    from storage.session import read_only_query

    found = read_only_query(
        Lake.open(settings_for(root).root),
        query,
        versions=dict(table_version(item) for item in as_of or ()),
        timeout_seconds=timeout,
    )
    if output_format == "table" and output is None:
        from app.terminal import print_table

        rows = [list(row.values()) for row in found.to_pylist()]
        print_table(found.column_names, rows, answer_console())
        return
    data = _encoded(found, output_format)
    if output is not None:
        output.write_bytes(data)
    else:
        sys.stdout.buffer.write(data)


def _encoded(found: "pa.Table", output_format: str) -> bytes:
    if output_format == "parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        sink = pa.BufferOutputStream()
        pq.write_table(found, sink, compression="zstd")
        return bytes(sink.getvalue())
    rows = found.to_pylist()
    if output_format == "json":
        return (json.dumps(rows, default=str, ensure_ascii=False) + "\n").encode()
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(found.column_names)
    writer.writerows([_csv_cell(name, value) for name, value in row.items()] for row in rows)
    return text.getvalue().encode()


def _csv_cell(column: str, value: Any) -> Any:
    if isinstance(value, list | dict):
        return json.dumps(value, default=str, ensure_ascii=False)
    formula = isinstance(value, str) and value.startswith(_FORMULA_STARTS)
    return f"'{value}" if formula and column not in _EXACT_COLUMNS else value
