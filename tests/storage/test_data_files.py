"""What a table's log says of its files is true, and complete enough for every reader."""

import json
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.dataset as ds
import pytest
from deltalake import DeltaTable

from storage.data_files import data_files
from storage.lake import Lake
from storage.schemas import TABLES


def test_a_reader_that_filters_by_any_column_finds_the_rows(local_lake: Lake, segment):
    local_lake.append(
        "segments", [segment(image_id="a", rle="0" * 400), segment(image_id="b")], "unit"
    )
    found = DeltaTable(f"{local_lake.root}/segments").to_pyarrow_dataset()
    rows = found.to_table().to_pylist()
    assert len(rows) == 2
    for field in TABLES["segments"]:
        if pa.types.is_nested(field.type):
            continue
        for row in rows:
            value = row[field.name]
            column = ds.field(field.name)
            wanted = column.is_null() if value is None else column == pa.scalar(value, field.type)
            assert row in found.to_table(filter=wanted).to_pylist(), field.name


@pytest.mark.parametrize(
    ("values", "least", "most"),
    [
        (pa.array(["b", None, "a"]), "a", "b"),
        (pa.array([3, 1], pa.int64()), 1, 3),
        (pa.array([0.5, float("nan")]), 0.5, 0.5),
        (pa.array([True, False]), False, True),
        (
            pa.array([datetime(2026, 5, 4, 3, 2, 1, 123999, UTC)], pa.timestamp("us", "UTC")),
            "2026-05-04T03:02:01.123Z",
            "2026-05-04T03:02:01.123Z",
        ),
        (pa.array(["x" * 500]), "x" * 200, "x" * 200 + "\U0010ffff"),
    ],
)
def test_bounds_are_written_as_delta_reads_them(values, least, most):
    data = pa.table({"column": values})
    (file,) = data_files([data], data.schema)
    said = json.loads(file.statistics)
    assert said["numRecords"] == len(values)
    assert said["nullCount"] == {"column": values.null_count}
    assert (said["minValues"]["column"], said["maxValues"]["column"]) == (least, most)


def test_a_column_without_a_value_has_no_bounds():
    data = pa.table({"column": pa.array([None, None], pa.string())})
    (file,) = data_files([data], data.schema)
    said = json.loads(file.statistics)
    assert (said["minValues"], said["nullCount"]) == ({}, {"column": 2})


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_the_log_stays_json_whatever_the_numbers(number):
    data = pa.table({"column": pa.array([number, 1.0] if number == number else [number])})
    (file,) = data_files([data], data.schema)
    assert "column" not in json.loads(file.statistics, parse_constant=pytest.fail)["minValues"]
