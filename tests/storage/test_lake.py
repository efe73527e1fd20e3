from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from threading import Barrier
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, write_deltalake
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from storage.errors import (
    LakePathError,
    RowsRefusedError,
    SchemaDriftError,
    UnknownTableError,
)
from storage.lake import Lake
from storage.maintenance import maintain_table
from storage.schemas import TABLES
from storage.session import connect

Row = Callable[..., dict[str, Any]]


@pytest.mark.parametrize("table", TABLES)
def test_a_table_that_was_never_written_is_empty_and_has_its_schema(local_lake: Lake, table: str):
    assert local_lake.read(table).equals(TABLES[table].empty_table(), check_metadata=True)
    assert local_lake.version(table) is None
    assert local_lake.file_uris(table) == []
    assert not local_lake.has_unit(table, "unit")
    assert not Path(local_lake.root).exists(), "reading must not write"


def test_rows_read_back_as_they_were_appended(lake: Lake, segment: Row):
    row = segment(top=[{"label": "ä", "cosine": -0.1, "probability": 1.0}], score=None, rle="")
    assert lake.append("segments", [row], "unit")
    found = lake.read("segments", committed_only=False)
    assert found.schema.equals(TABLES["segments"], check_metadata=True)
    nulls = dict.fromkeys(TABLES["segments"].names)
    assert found.to_pylist() == [nulls | row | {"unit_id": "unit"}]


def test_a_unit_is_appended_once(lake: Lake, segment: Row):
    assert lake.append("segments", [segment()], "unit")
    assert not lake.append("segments", [segment(), segment()], "unit")
    assert lake.append("segments", [segment()], "another")
    assert lake.read("segments", committed_only=False).num_rows == 2
    assert lake.version("segments") == 2  # made empty as version 0, then two commits
    assert lake.has_unit("segments", "unit")
    assert not lake.has_unit("segments", "third")


def test_writers_that_meet_at_a_new_table_make_it_once(tmp_path, segment: Row):
    for number in range(20):
        root = str(tmp_path / str(number))
        barrier = Barrier(4)

        def write(writer: int, root: str = root, barrier: Barrier = barrier) -> bool:
            lake = Lake.open(root)
            barrier.wait()
            return lake.append("segments", [segment()], f"unit {writer}")

        with ThreadPoolExecutor(4) as pool:
            assert all(pool.map(write, range(4)))
        assert Lake.open(root).version("segments") == 4  # made once, then a commit of each


def test_a_unit_may_write_to_several_tables(local_lake: Lake, segment: Row, image: Row):
    assert local_lake.append("images", [image("a")], "unit")
    assert local_lake.append("segments", [segment()], "unit")


def test_a_unit_without_rows_is_committed_as_well(lake: Lake):
    assert lake.append("quarantine", [], "unit")
    assert not lake.append("quarantine", [], "unit")
    assert lake.read("quarantine").num_rows == 0


def test_units_are_remembered_when_the_log_is_compacted(local_lake: Lake, segment: Row):
    for number in range(12):
        local_lake.append("segments", [segment()], f"unit-{number}")
    table = local_lake.table("segments")
    assert table is not None
    table.create_checkpoint()
    for entry in Path(table.table_uri.removeprefix("file://"), "_delta_log").glob("*0.json"):
        entry.unlink()  # what log retention does one day
    assert not local_lake.append("segments", [segment()], "unit-0")
    table.optimize.compact()
    assert not local_lake.append("segments", [segment()], "unit-3")
    assert local_lake.read("segments", committed_only=False).num_rows == 12
    assert len(local_lake.file_uris("segments")) == 1


def test_arrow_data_is_taken_as_rows(local_lake: Lake, image: Row):
    rows = pa.Table.from_pylist([image("b"), image("a")]).drop_columns(["source_id"])
    assert local_lake.append("images", rows, "unit")
    found = local_lake.read("images", committed_only=False)
    assert found.schema.equals(TABLES["images"], check_metadata=True)
    assert found["image_id"].to_pylist() == ["a", "b"]
    assert found["source_id"].to_pylist() == [None, None]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"colour": "red"}, "unknown columns colour"),
        ({"label": None}, "column label is required"),
        ({"area_px": "many"}, "column area_px should be int64"),
        ({"area_px": 1.5}, "column area_px should be int64"),
        ({"unit_id": "another"}, "rows of unit another in unit unit"),
    ],
)
@pytest.mark.parametrize("as_arrow", [False, True])
def test_rows_that_do_not_fit_are_refused_and_nothing_is_written(
    local_lake: Lake, segment: Row, change: dict[str, Any], message: str, as_arrow: bool
):
    row = segment(**change)
    rows: Any = pa.Table.from_pylist([row]) if as_arrow else [segment(), row]
    with pytest.raises(RowsRefusedError, match=message):
        local_lake.append("segments", rows, "unit")
    assert local_lake.version("segments") is None


def test_a_number_that_is_too_large_is_refused(local_lake: Lake, segment: Row):
    with pytest.raises(RowsRefusedError, match="column area_px should be int64"):
        local_lake.append("segments", [segment(area_px=2**63)], "unit")


def test_a_row_without_a_required_column_is_refused(local_lake: Lake, image: Row):
    row = image("a")
    del row["uri"]
    with pytest.raises(RowsRefusedError, match="column uri is required"):
        local_lake.append("images", [row], "unit")


@pytest.mark.parametrize("call", ["append", "read", "version", "file_uris", "has_unit"])
def test_an_unknown_table_is_named_with_the_known_ones(local_lake: Lake, call: str):
    arguments = {"append": ([], "unit"), "has_unit": ("unit",)}.get(call, ())
    with pytest.raises(UnknownTableError, match=r"'segmints'; expected one of .*segments"):
        getattr(local_lake, call)("segmints", *arguments)


def test_a_finished_unit_says_what_it_did(lake: Lake):
    before = datetime.now(UTC)
    values = {
        "stage": "segment",
        "subject": "batch",
        "inputs": 2,
        "outputs": 5,
        "run_id": "run",
        "image_ids": ["a", "b"],
        "model_id": "model",
        "params_id": "params",
        "label_set_id": "labels",
        "device_seconds": 1.25,
        "device": "cpu",
        "dataset": "comics",
    }
    assert lake.commit_unit(unit_id="unit", **values)
    assert not lake.commit_unit(unit_id="unit", **values)
    (row,) = lake.read("units").to_pylist()
    assert before <= row.pop("committed_at") <= datetime.now(UTC)
    assert row == values | {"unit_id": "unit"}


def test_a_unit_of_segmentation_must_name_its_images(local_lake: Lake):
    with pytest.raises(ValueError, match="must name the images"):
        local_lake.commit_unit(stage="segment", unit_id="u", subject="b", inputs=1, outputs=0)


def test_a_column_added_to_the_schema_is_null_in_old_rows(
    local_lake: Lake, segment: Row, monkeypatch: pytest.MonkeyPatch
):
    with monkeypatch.context() as older:
        schema = TABLES["segments"]
        index = schema.get_field_index("code_version")
        older.setitem(TABLES, "segments", schema.remove(index))
        local_lake.append("segments", [segment()], "old")
    assert local_lake.read("segments", False)["code_version"].to_pylist() == [None]
    local_lake.append("segments", [segment(code_version="2")], "new")
    found = local_lake.read("segments", False).to_pylist()
    assert {row["unit_id"]: row["code_version"] for row in found} == {"old": None, "new": "2"}


def test_units_of_a_lake_from_before_seconds_were_measured_stay_and_have_none(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
):
    about = {"stage": "segment", "subject": "b", "inputs": 1, "outputs": 0, "model_id": "m"}
    newer = TABLES["units"]
    older = newer
    for name in ("device_seconds", "device", "dataset"):
        older = older.remove(older.get_field_index(name))

    def commit_as_older(unit: str) -> None:
        row = about | {"committed_at": datetime.now(UTC), "image_ids": [unit]}
        with monkeypatch.context() as patched:
            patched.setitem(TABLES, "units", older)
            assert lake.append("units", [row], unit)

    def seconds() -> dict[str, Any]:
        found = lake.read("units").to_pylist()
        return {row["unit_id"]: (row["device_seconds"], row["device"]) for row in found}

    commit_as_older("old")
    assert seconds() == {"old": (None, None)}
    assert lake.unit_version("old") == 1
    then = lake.version("units")
    measured = {"device_seconds": 2.5, "device": "cpu"}
    assert lake.commit_unit(unit_id="new", image_ids=["new"], **about, **measured)
    assert not lake.commit_unit(unit_id="old", image_ids=["old"], **about, **measured)
    commit_as_older("a worker that is still older")
    expected = {
        "old": (None, None),
        "new": (2.5, "cpu"),
        "a worker that is still older": (None, None),
    }
    assert seconds() == expected
    assert maintain_table(lake, "units").merged == 3
    assert seconds() == expected
    with connect(lake, {"units": then}) as session:
        found = session.execute("SELECT unit_id, device_seconds FROM units").fetchall()
    assert found == [("old", None)]


def test_a_column_stored_with_another_type_is_named(local_lake: Lake, segment: Row):
    schema = TABLES["segments"]
    index = schema.get_field_index("area_px")
    other = schema.set(index, pa.field("area_px", pa.string(), False))
    write_deltalake(f"{local_lake.root}/segments", other.empty_table())
    with pytest.raises(SchemaDriftError, match=r"segments\.area_px should be int64.*string"):
        local_lake.append("segments", [segment()], "unit")


def test_files_are_sorted_compressed_and_grouped_as_readers_need(local_lake: Lake, segment: Row):
    labels = ["text", "bubble", "panel", "bubble"]
    images = ["b", "b", "a", "a"]
    rows = [segment(label=x, image_id=y) for x, y in zip(labels, images, strict=True)]
    local_lake.append("segments", rows, "unit")
    (path,) = local_lake.file_uris("segments")
    found = pq.read_table(path)
    assert list(zip(*found.select(["label", "image_id"]).to_pydict().values(), strict=True)) == [
        ("bubble", "a"),
        ("bubble", "b"),
        ("panel", "a"),
        ("text", "b"),
    ]
    columns = [pq.read_metadata(path).row_group(0).column(n) for n in range(found.num_columns)]
    compressed = {c.path_in_schema: c.compression == "ZSTD" for c in columns}
    assert {name for name, done in compressed.items() if not done} == {
        "margin", "predicted_iou", "score", "stability_score"
    }  # fmt: skip
    dictionaries = {c.path_in_schema for c in columns if c.has_dictionary_page}
    assert {"label", "model_id"} <= dictionaries
    assert dictionaries.isdisjoint({"rle", "segment_id", "area_px"})


def test_the_stored_table_says_what_its_columns_mean(local_lake: Lake, segment: Row):
    local_lake.append("segments", [segment()], "unit")
    stored = DeltaTable(f"{local_lake.root}/segments")
    field = pa.schema(stored.schema().to_arrow()).field("area_px")
    assert field.metadata == {b"meaning": b"Pixels in the mask.", b"unit": b"px"}
    assert "column-major" in stored.metadata().description


@pytest.mark.parametrize("name", ["a b", "ü漢", "a%b", "a#b", "a?b*", "a'b\"", "a+b&c=d", "{a}"])
def test_a_folder_may_have_an_unusual_name(tmp_path: Path, segment: Row, name: str):
    lake = Lake.open(str(tmp_path / name))
    lake.append("segments", [segment()], "unit")
    lake.append("segments", [segment()], "unit 2")
    assert lake.read("segments", committed_only=False).num_rows == 2
    assert all(Path(path).is_file() for path in lake.file_uris("segments"))


@pytest.mark.parametrize("name", ["a[1]", "a^b", "a|b", "a\\b", "a\nb", "a%20b"])
def test_a_folder_that_the_table_format_cannot_take_is_refused(tmp_path: Path, name: str):
    with pytest.raises(LakePathError, match="choose a folder without"):
        Lake.open(str(tmp_path / name))


def test_a_relative_folder_stays_where_it_was_opened(
    tmp_path: Path, segment: Row, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    lake = Lake.open("root")
    monkeypatch.chdir("/")
    lake.append("segments", [segment()], "unit")
    assert (tmp_path / "root" / "lake" / "segments" / "_delta_log").is_dir()


finite = st.floats(allow_nan=False, allow_infinity=False)


@given(
    st.lists(
        st.fixed_dictionaries(
            {
                "label": st.text(),
                "score": st.none() | finite,
                "area_px": st.integers(-(2**63), 2**63 - 1),
                "bbox_xywh": st.lists(finite, min_size=4, max_size=4),
                "created_at": st.datetimes(
                    datetime(1970, 1, 1),  # noqa: DTZ001 - hypothesis adds the zone
                    datetime(2200, 1, 1),  # noqa: DTZ001
                    timezones=st.just(UTC),
                ),
                "rle": st.text(st.characters(min_codepoint=48, max_codepoint=111)),
            }
        ),
        max_size=4,
    )
)
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_row_survives_the_way_through_table_and_sql(
    tmp_path_factory: pytest.TempPathFactory, segment: Row, values: list[dict[str, Any]]
):
    lake = Lake(str(tmp_path_factory.mktemp("lake")))
    rows = [segment(segment_id=str(n), **value) for n, value in enumerate(values)]
    lake.append("segments", rows, "unit")
    found = lake.read("segments", committed_only=False).to_pylist()
    nulls = dict.fromkeys(TABLES["segments"].names)
    assert sorted(found, key=lambda row: int(row["segment_id"])) == [
        nulls | row | {"unit_id": "unit"} for row in rows
    ]
