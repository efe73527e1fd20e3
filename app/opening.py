"""segmill open: how other programs read the tables of this root."""

import os
from typing import TYPE_CHECKING, Annotated

import typer

from app.lake_programs import Place, duckdb_sql, polars_code, python_code, spark_code
from app.options import Json, Root, print_json, settings_for

if TYPE_CHECKING:
    from storage.lake import Lake
    from storage.settings import Settings

_RULE = (
    "Rows of {tables} count only when their unit_id is in units: a unit of work writes its rows "
    "first and its row in units last. An image that several drops brought has a row of each in "
    "images, and the first one counts. The views below leave the others out. What they do not "
    "leave out, but segmill sql does: annotations of a drop whose content was changed since, and "
    "what the second of two runs found on an image that both cut at once. "
    "Read what Delta lists, not every file in the folder: some wait for their deletion."
)


def open_lake(
    files: Annotated[
        str | None,
        typer.Option(metavar="TABLE", help="Print the live Parquet files of a table, one a line."),
    ] = None,
    root: Root = None,
    as_json: Json = False,
) -> None:
    """Say how DuckDB, Python, Polars and Spark read the tables of this root, with its real paths.

    Nothing is changed, and no password or key is printed.

    Examples:
      segmill open

      segmill open --root s3://bucket/prefix

      segmill open --files segments
    """
    from storage.lake import Lake

    settings = settings_for(root)
    lake = Lake.open(settings.root)
    if files is not None:
        for uri in lake.file_uris(files):
            typer.echo(uri)
        return
    place = _place(lake, settings)
    parts = {
        "duckdb": duckdb_sql(place),
        "python": python_code(place),
        "polars": polars_code(place),
        "spark": spark_code(place),
    }
    rule = _RULE.format(tables=", ".join(place.by_unit) or "most tables")
    if as_json:
        print_json({"lake": lake.root, "tables": dict(place.uris), "rule": rule, **parts})
        return
    titles = {
        "duckdb": "DuckDB: duckdb, then",
        "python": "Python: pip install duckdb deltalake pyarrow",
        "polars": "Polars: pip install polars deltalake",
        "spark": "Spark: pip install delta-spark",
    }
    typer.echo(f"{len(place.uris)} Delta tables in {lake.root}\n\n{rule}")
    for name, title in titles.items():
        typer.echo(f"\n# {title}\n\n{parts[name]}")


def _place(lake: "Lake", settings: "Settings") -> Place:
    from storage.schemas import TABLES, UNIT_TABLES
    from storage.views import FIRST_OF_IMAGE

    # Units first: the views of the others need it.
    names = sorted(TABLES, key=lambda name: name != "units")
    uris = {name: f"{lake.root}/{name}" for name in names if lake.version(name) is not None}
    if not uris:
        raise typer.BadParameter(
            f"expected tables in {lake.root}, but found none; segmill ingest makes them",
            param_hint="--root",
        )
    shown = next(
        (name for name in ("segments", "annotations", "images") if name in uris), next(iter(uris))
    )
    endpoint = settings.s3_endpoint
    options = {}
    if not lake.is_local and endpoint:
        allow = str(endpoint.startswith("http://")).lower()
        options = {"AWS_ENDPOINT_URL": endpoint, "AWS_ALLOW_HTTP": allow}
        if not (os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")):
            options["AWS_REGION"] = "us-east-1"
    return Place(
        uris=uris,
        by_unit=tuple(name for name in uris if name in UNIT_TABLES and "units" in uris),
        first_of_image=FIRST_OF_IMAGE,
        files=tuple(lake.file_uris(shown)),
        files_of=shown,
        options=options,
    )
