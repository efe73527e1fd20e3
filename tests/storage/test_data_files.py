"""What a table's log says of its files is true, and complete enough for every reader."""

import json
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.dataset as ds
import pytest
from deltalake import DeltaTable, write_deltalake

from storage.data_files import data_files
from storage.errors import RowsRefusedError
from storage.lake import Lake
from storage.maintenance import maintain_table
from storage.schemas import TABLES
from storage.session import connect, read_only_query
from tests.lakes import NIGHT


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
        (pa.array([0.5, None]), 0.5, 0.5),
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


NAN = float("nan")


def test_nan_is_stored_as_null_and_no_reader_skips_what_it_stands_for(local_lake: Lake, segment):
    rows = [segment(segment_id="nan", score=NAN), segment(segment_id="half", score=0.5)]
    local_lake.append("segments", rows, "unit")
    # Another program stores it as it is; merging does as appending.
    other = local_lake.read("segments", committed_only=False).slice(0, 1)
    score = other.schema.get_field_index("score")
    other = other.set_column(score, other.schema.field(score), pa.array([NAN]))
    write_deltalake(f"{local_lake.root}/segments", other, mode="append")
    maintain_table(local_lake, "segments")
    sql = "SELECT segment_id FROM stored.segments WHERE "
    for condition, found in {
        "score > 0.9": [],
        "score + 0 > 0.9": [],
        "isnan(score)": [],
        "score >= 0.5": ["half"],
        "score IS NULL": [other["segment_id"][0].as_py(), "nan"],
    }.items():
        answer = read_only_query(local_lake, sql + condition)["segment_id"].to_pylist()
        assert sorted(answer) == sorted(found), condition
        with connect(local_lake) as session:
            assert sorted(session.sql(sql + condition).fetchall()) == sorted(
                (id_,) for id_ in found
            )


def test_nan_where_null_is_not_allowed_is_refused(local_lake: Lake):
    row = dict.fromkeys(TABLES["evaluations"].names, "x")
    row |= {"value": NAN, "images": 1, "evaluated_at": NIGHT, "per_image": []}
    with pytest.raises(RowsRefusedError, match="column value is required, but is NaN"):
        local_lake.append("evaluations", [row], "unit")


def test_a_file_of_required_numbers_with_nan_has_no_bounds():
    schema = pa.schema([pa.field("column", pa.float64(), nullable=False)])
    (file,) = data_files([pa.table({"column": [NAN, 1.0]}, schema)], schema)
    assert json.loads(file.statistics)["minValues"] == {}


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_the_log_stays_json_whatever_the_numbers(number):
    data = pa.table({"column": pa.array([number])})
    (file,) = data_files([data], data.schema)
    assert "column" not in json.loads(file.statistics, parse_constant=pytest.fail)["minValues"]
