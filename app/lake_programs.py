"""Programs that read the tables of a root without SegMill, with its real paths in them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

_MOST_FILES = 4


@dataclass(frozen=True)
class Place:
    """Where the tables are, as other programs write it.

    Attributes:
        uris: A folder or `s3://` URI for each table that is stored.
        by_unit: Those of them whose rows count by `units`.
        first_of_image: SQL of the row of an image that counts, in `images`.
        files: The live Parquet files of one table, to show how they are read.
        files_of: Name of that table.
        options: Options of the object store beside credentials, which are the environment's.
    """

    uris: Mapping[str, str]
    by_unit: tuple[str, ...]
    first_of_image: str
    files: tuple[str, ...]
    files_of: str
    options: Mapping[str, str]

    @property
    def is_local(self) -> bool:
        """Whether it is a folder of this machine."""
        return not next(iter(self.uris.values())).startswith("s3://")


def duckdb_sql(place: Place) -> str:
    """SQL for the DuckDB command line: views by its delta extension, and plain Parquet files."""
    lines = ["INSTALL delta; LOAD delta;"]
    if not place.is_local:
        lines.append(_duckdb_secret(place.options))
    for table, uri in place.uris.items():
        counted = " WHERE unit_id IN (SELECT unit_id FROM units)" if table in place.by_unit else ""
        counted += f"\n    QUALIFY {place.first_of_image}" if table == "images" else ""
        lines.append(f"CREATE VIEW {table} AS FROM delta_scan({_sql_text(_as_uri(uri))}){counted};")
    shown = ",\n    ".join(_sql_text(file) for file in place.files[:_MOST_FILES])
    lines += [
        f"SELECT count(*) FROM {place.files_of};",
        f"-- Without the extension; segmill open --files {place.files_of} lists all of "
        f"{len(place.files)} for now, with rows of unfinished units:",
        f"SELECT count(*) FROM read_parquet([\n    {shown}\n], union_by_name = true);",
    ]
    return "\n".join(lines)


def python_code(place: Place) -> str:
    """A Python program with the same views, by the packages duckdb and deltalake."""
    return f"""\
import duckdb
from deltalake import DeltaTable
from pyarrow.dataset import FileSystemDataset

tables = {_literal(place.uris)}
options = {_literal(place.options)}
by_unit = {list(place.by_unit)!r}
first = "QUALIFY {place.first_of_image}"

session = duckdb.connect()
for name, uri in tables.items():
    found = DeltaTable(uri, storage_options=options or None).to_pyarrow_dataset()
    # Without what the log says of the files: where it is silent, deltalake takes it for no rows.
    files = [found.format.make_fragment(file, found.filesystem) for file in found.files]
    rows = FileSystemDataset(files, found.schema, found.format, found.filesystem)
    session.register(f"dataset_{{name}}", rows)
    counted = "WHERE unit_id IN (FROM units SELECT unit_id)" if name in by_unit else ""
    counted += f" {{first}}" if name == "images" else ""
    session.execute(f"CREATE TEMP VIEW {{name}} AS FROM dataset_{{name}} {{counted}}")
print(session.sql("SELECT count(*) FROM {place.files_of}"))"""


def polars_code(place: Place) -> str:
    """A Python program that reads a table with Polars."""
    options = f", storage_options={dict(place.options)!r}" if place.options else ""
    # Polars itself looks for a folder with a space in its name under the encoded one.
    if place.is_local and quote(place.uris[place.files_of]) != place.uris[place.files_of]:
        options = ", use_pyarrow=True"
    lines = ["import polars as pl", ""]
    table, units = place.files_of, _units_of(place, place.files_of)
    lines.append(f"{table} = pl.read_delta({place.uris[table]!r}{options})")
    if units:
        lines += [
            f"units = pl.read_delta({units!r}{options})",
            f'{table} = {table}.join(units.select("unit_id"), on="unit_id", how="semi")',
        ]
    if table == "images":
        lines += [
            'images = images.sort("ingested_at", "unit_id")',
            'images = images.unique(["dataset", "image_id"], keep="first", maintain_order=True)',
        ]
    return "\n".join([*lines, f"print({table}.height)"])


def spark_code(place: Place) -> str:
    """A Python program that reads a table with Spark."""
    packages, configuration = "", ""
    if not place.is_local:
        packages = ', extra_packages=["org.apache.hadoop:hadoop-aws:VERSION OF YOUR HADOOP"]'
        if endpoint := place.options.get("AWS_ENDPOINT_URL"):
            configuration = (
                f'\n    .config("spark.hadoop.fs.s3a.endpoint", {endpoint!r})'
                '\n    .config("spark.hadoop.fs.s3a.path.style.access", "true")'
            )
    table, units = place.files_of, _units_of(place, place.files_of)
    lines = [f'{table} = spark.read.format("delta").load({_as_spark(place.uris[table])!r})']
    if units:
        lines += [
            f'units = spark.read.format("delta").load({_as_spark(units)!r})',
            f'{table} = {table}.join(units.select("unit_id"), "unit_id", "left_semi")',
        ]
    if table == "images":
        lines += [
            'drops = Window.partitionBy("dataset", "image_id").orderBy("ingested_at", "unit_id")',
            'images = images.withColumn("place", row_number().over(drops))',
            'images = images.where("place = 1").drop("place")',
        ]
    return f"""\
from delta import configure_spark_with_delta_pip
from pyspark.sql import SparkSession, Window
from pyspark.sql.functions import row_number

builder = (
    SparkSession.builder.appName("segmill")
    .config("spark.sql.extensions", "io.delta.sql.DeltaSparkSessionExtension")
    .config("spark.sql.catalog.spark_catalog", "org.apache.spark.sql.delta.catalog.DeltaCatalog")\
{configuration}
)
spark = configure_spark_with_delta_pip(builder{packages}).getOrCreate()
{chr(10).join(lines)}
{table}.show()"""


def _units_of(place: Place, table: str) -> str | None:
    if table not in place.by_unit:
        return None
    return place.uris["units"]


def _duckdb_secret(options: Mapping[str, str]) -> str:
    parts = ["TYPE s3", "PROVIDER credential_chain"]
    if endpoint := options.get("AWS_ENDPOINT_URL"):
        scheme, _, host = endpoint.partition("://")
        parts += [f"ENDPOINT {_sql_text(host.rstrip('/'))}", "URL_STYLE 'path'"]
        parts += ["USE_SSL false"] if scheme == "http" else []
    return f"INSTALL httpfs; LOAD httpfs;\nCREATE SECRET ({', '.join(parts)});"


def _as_uri(uri: str) -> str:
    return uri if uri.startswith("s3://") else Path(uri).as_uri()


def _as_spark(uri: str) -> str:
    return f"s3a://{uri.removeprefix('s3://')}" if uri.startswith("s3://") else Path(uri).as_uri()


def _sql_text(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _literal(values: Mapping[str, str]) -> str:
    return json.dumps(dict(values), indent=4, ensure_ascii=False)
