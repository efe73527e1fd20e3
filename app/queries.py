"""segmill sql and segmill query: ask the tables, in SQL or by the name of a recipe."""

import os
import shutil
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.answers import Format, Output, write_answer
from app.options import FINDINGS, AsOf, Root, settings_for

if TYPE_CHECKING:
    import pyarrow as pa

    from storage.queries.recipes import Recipe

Parameters = Annotated[
    list[str] | None,
    typer.Option(
        "--param",
        metavar="NAME=VALUE",
        help="The value of $NAME in the SQL: a number, true, false, null, or text; can be given "
        "several times. Text that looks like one of the others goes in double quotes: 'id=\"12\"'.",
    ),
]
Timeout = Annotated[float, typer.Option(min=0.1, max=86_400, help="Seconds a query may take.")]

# What DuckDB does in one step, such as one comparison of two very long texts, it does not stop.
_GRACE_SECONDS = 5.0
_LARGEST_FILE = 1 << 20


def sql(
    query: Annotated[
        str | None,
        typer.Argument(help="One SELECT, DESCRIBE, SUMMARIZE or SHOW.", show_default=False),
    ] = None,
    file: Annotated[
        Path | None, typer.Option("--file", "-f", help="Read the SQL from this file.")
    ] = None,
    param: Parameters = None,
    output_format: Format = "table",
    output: Output = None,
    as_of: AsOf = None,
    timeout: Timeout = 300,
    root: Root = None,
) -> None:
    """Ask the tables in SQL: images, annotations, segments, curated, label_stats, quarantine...

    Examples:
      segmill sql "SELECT label, count(*) FROM segments GROUP BY label"

      segmill sql "SELECT * FROM quarantine" --format csv > quarantine.csv

      segmill sql -f large.sql --param label=panel --param min_px=1000

      segmill sql "SELECT count(*) FROM segments" --as-of 2026-11-01
    """
    found = _answer(_sql_text(query, file), _values(param), as_of, timeout, root)
    write_answer(found, output_format, output)


def query(
    name: Annotated[
        str | None, typer.Argument(help="A recipe; without one they are listed.")
    ] = None,
    param: Parameters = None,
    output_format: Format = "table",
    output: Output = None,
    as_of: AsOf = None,
    timeout: Timeout = 300,
    show_sql: Annotated[
        bool, typer.Option("--show-sql", help="Print the recipe's SQL, to start one's own from.")
    ] = False,
    root: Root = None,
) -> None:
    """Ask the tables a question that others asked before.

    Examples:
      segmill query

      segmill query largest_segments --param label=panel --param limit=5

      segmill query label_confusion --format csv > confusion.csv

      segmill query unknown_share_by_night --show-sql > mine.sql
    """
    from storage.queries.recipes import load_recipe, recipe_names

    if name is None:
        if param or show_sql:
            raise typer.BadParameter("expected the name of a recipe with --param or --show-sql")
        found = _recipe_list([load_recipe(known) for known in recipe_names()], output_format)
        write_answer(found, output_format, output)
        return
    recipe = load_recipe(name)
    if show_sql:
        typer.echo(recipe.sql, nl=False)
        return
    found = _answer(recipe.sql, recipe.values(_values(param)), as_of, timeout, root)
    write_answer(found, output_format, output, short_ids=True)


def _answer(
    text: str,
    values: Mapping[str, Any],
    as_of: list[str] | None,
    timeout_seconds: float,
    root: str | None,
) -> "pa.Table":
    from storage.lake import Lake
    from storage.session import read_only_query
    from storage.versions import versions_as_of

    lake = Lake.open(settings_for(root).root)
    with (
        TemporaryDirectory(prefix="segmill-sql-") as spill,
        _kill_timer(timeout_seconds + _GRACE_SECONDS, spill),
    ):
        return read_only_query(
            lake,
            text,
            values,
            versions=versions_as_of(lake, as_of or ()),
            timeout_seconds=timeout_seconds,
            spill_folder=spill,
        )


@contextmanager
def _kill_timer(seconds: float, spill: str) -> Iterator[None]:
    """End the process if the block takes longer; what it wrote is in a folder that goes first."""

    def end() -> None:
        shutil.rmtree(spill, ignore_errors=True)
        typer.secho(
            f"failed: the query did not stop when it was told to, and was killed after {seconds:g} "
            "s; ask for less, or allow it more with --timeout",
            fg="red",
            err=True,
        )
        os._exit(FINDINGS)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _sql_text(query: str | None, file: Path | None) -> str:
    if (query is None) == (file is None):
        found = "neither" if query is None else "both"
        raise typer.BadParameter(f"expected the SQL as an argument or --file, but got {found}")
    if file is None:
        assert query is not None
        return query
    if not file.is_file():
        raise typer.BadParameter(f"no such file: {file}", param_hint="--file")
    if file.stat().st_size > _LARGEST_FILE:
        raise typer.BadParameter(
            f"expected SQL of at most {_LARGEST_FILE >> 10} KiB, but {file} has "
            f"{file.stat().st_size >> 10}",
            param_hint="--file",
        )
    try:
        return file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise typer.BadParameter(
            f"expected SQL in UTF-8, but byte {error.start} of {file} is none", param_hint="--file"
        ) from None


def _values(given: list[str] | None) -> dict[str, Any]:
    from storage.queries.values import typed_value

    values: dict[str, Any] = {}
    for text in given or ():
        name, equals, value = text.partition("=")
        name = name.removeprefix("$")
        if not (equals and name.isidentifier()):
            raise typer.BadParameter(f"expected NAME=VALUE, but got {text!r}", param_hint="--param")
        if name in values:
            raise typer.BadParameter(f"{name} is given twice", param_hint="--param")
        values[name] = typed_value(value)
    return values


def _recipe_list(recipes: "list[Recipe]", output_format: str) -> "pa.Table":
    import pyarrow as pa

    from storage.queries.values import shown_value

    if output_format == "table":
        return pa.table(
            {
                "recipe": [recipe.name for recipe in recipes],
                "answers": [recipe.meaning for recipe in recipes],
                "parameters": [
                    "\n".join(f"{p.name}={shown_value(p.default)}" for p in recipe.parameters)
                    for recipe in recipes
                ],
            }
        )
    return pa.Table.from_pylist(
        [
            {
                "recipe": recipe.name,
                "answers": recipe.meaning,
                "parameters": [
                    {"name": p.name, "default": shown_value(p.default), "meaning": p.meaning}
                    for p in recipe.parameters
                ],
            }
            for recipe in recipes
        ]
    )
