from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable, Schema, write_deltalake

from storage.errors import (
    SchemaDriftError,
    UnknownColumnError,
    UnreadableTableError,
)
from storage.lake import Lake
from storage.rewriting import remove_units
from storage.schemas import TABLES, UNIT_TABLES
from storage.session import connect, read_only_query

Row = Callable[..., dict[str, Any]]


def _finish(lake: Lake, unit: str, images: list[str], **values: Any) -> None:
    settings = {"model_id": "model", "params_id": "params", "label_set_id": "labels"}
    lake.commit_unit(
        stage="segment",
        unit_id=unit,
        subject="batch",
        inputs=len(images),
        outputs=1,
        image_ids=images,
        **(settings | values),
    )


def _ids(lake: Lake) -> list[str]:
    found = read_only_query(lake, "SELECT segment_id FROM segments ORDER BY ALL")
    return list(found["segment_id"].to_pylist())


def test_there_is_one_view_per_table_even_in_an_empty_lake(local_lake: Lake):
    with connect(local_lake) as session:
        shown = session.sql("SELECT view_name FROM duckdb_views() WHERE schema_name = 'main'")
        assert set(TABLES) <= {name for (name,) in shown.fetchall()}
        for table, schema in TABLES.items():
            found = session.sql(f"SELECT * FROM {table}").to_arrow_table()
            assert found.num_rows == 0
            assert found.cast(schema).schema.equals(schema)


@pytest.mark.parametrize("table", sorted(UNIT_TABLES))
def test_rows_are_seen_when_their_unit_is_finished(
    local_lake: Lake, segment: Row, image: Row, table: str
):
    generic: dict[Any, Any] = {
        pa.string(): "x",
        pa.int64(): 1,
        pa.float64(): 0.5,
        pa.bool_(): True,
        pa.timestamp("us", "UTC"): image("a")["ingested_at"],
    }
    row = {field.name: generic.get(field.type, []) for field in TABLES[table]} | {"unit_id": "u"}
    for unit in ("unfinished", "finished"):
        local_lake.append(table, [row | {"unit_id": unit}], unit)
    _finish(local_lake, "finished", ["x"])
    with connect(local_lake) as session:
        assert session.sql(f"SELECT unit_id FROM {table}").fetchall() == [("finished",)]
        stored = session.sql(f"SELECT unit_id FROM stored.{table} ORDER BY 1").fetchall()
        assert stored == [("finished",), ("unfinished",)]


def test_an_image_cut_by_two_runs_at_once_shows_the_segments_of_one(lake: Lake, segment: Row):
    first = [segment(segment_id="a1", image_id="a"), segment(segment_id="b1", image_id="b")]
    second = [segment(segment_id="b2", image_id="b"), segment(segment_id="c2", image_id="c")]
    lake.append("segments", first, "unit-2")
    lake.append("segments", second, "unit-1")
    _finish(lake, "unit-2", ["a", "b"])
    assert _ids(lake) == ["a1", "b1"]
    _finish(lake, "unit-1", ["b", "c"])
    assert _ids(lake) == ["a1", "b1", "c2"], "what was read before must not change"


@pytest.mark.parametrize("setting", ["model_id", "params_id", "label_set_id"])
def test_an_image_cut_with_other_settings_shows_both(local_lake: Lake, segment: Row, setting: str):
    other = {setting: "other"}
    local_lake.append("segments", [segment(segment_id="1")], "unit-1")
    local_lake.append("segments", [segment(segment_id="2", **other)], "unit-2")
    _finish(local_lake, "unit-1", ["image-1"])
    _finish(local_lake, "unit-2", ["image-1"], **other)
    assert _ids(local_lake) == ["1", "2"]


def test_a_session_stays_at_the_versions_it_opened(lake: Lake, segment: Row):
    lake.append("segments", [segment(segment_id="1")], "unit-1")
    _finish(lake, "unit-1", ["image-1"])
    with connect(lake) as session:
        lake.append("segments", [segment(segment_id="2", image_id="b")], "unit-2")
        _finish(lake, "unit-2", ["b"])
        assert session.sql("SELECT count(*) FROM segments").fetchall() == [(1,)]
    assert _ids(lake) == ["1", "2"]


def test_an_older_version_can_be_read(lake: Lake, segment: Row):
    lake.append("segments", [segment(segment_id="1")], "unit-1")
    _finish(lake, "unit-1", ["image-1"])
    version = lake.version("units")
    assert version is not None
    lake.append("segments", [segment(segment_id="2", image_id="b")], "unit-2")
    _finish(lake, "unit-2", ["b"])
    sql = "SELECT segment_id FROM segments"
    found = read_only_query(lake, sql, versions={"units": version})
    assert found["segment_id"].to_pylist() == ["1"]


def test_a_unit_that_finishes_while_a_session_opens_is_seen_whole_or_not_at_all(
    local_lake: Lake, segment: Row, monkeypatch: pytest.MonkeyPatch
):
    local_lake.append("segments", [segment(image_id="a")], "unit-1")
    _finish(local_lake, "unit-1", ["a"])
    original = Lake.table
    opened = []

    def commit_after_first(self: Lake, table: str, version: int | None = None) -> Any:
        stored = original(self, table, version)
        if not opened:
            other = Lake(self.root)
            opened.append(table)
            other.append("segments", [segment(image_id="b"), segment(image_id="b")], "unit-2")
            _finish(other, "unit-2", ["b"])
        opened.append(table)
        return stored

    monkeypatch.setattr(Lake, "table", commit_after_first)
    with connect(local_lake) as session:
        images = session.sql("SELECT unnest(image_ids) FROM units").fetchall()
        segments = session.sql("SELECT image_id FROM segments").fetchall()
    assert images == segments == [("a",)]


def test_times_are_shown_in_utc(local_lake: Lake, segment: Row, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    local_lake.append("segments", [segment()], "unit")
    sql = "SELECT created_at::VARCHAR FROM stored.segments"
    assert read_only_query(local_lake, sql).to_pydict() == {
        "CAST(created_at AS VARCHAR)": ["2026-05-04 03:02:01.123456+00"]
    }


def _store(lake: Lake, table: str, data: pa.Table) -> None:
    """Store rows as another version of the program might have."""
    write_deltalake(
        f"{lake.root}/{table}", data, mode="overwrite", schema_mode="overwrite",
        storage_options=lake._tables.options,
    )  # fmt: skip


def test_a_column_that_an_older_version_did_not_write_is_null(lake: Lake, segment: Row):
    lake.append("segments", [segment(segment_id="1")], "unit")
    _finish(lake, "unit", ["image-1"])
    stored = DeltaTable(
        f"{lake.root}/segments", storage_options=lake._tables.options
    ).to_pyarrow_table()
    _store(lake, "segments", stored.drop_columns(["margin", "track_id"]))
    found = read_only_query(lake, "SELECT segment_id, margin, track_id FROM segments")
    assert found.to_pylist() == [{"segment_id": "1", "margin": None, "track_id": None}]
    with connect(lake) as session:
        assert session.sql("SELECT margin FROM segments").fetchall() == [(None,)]


def test_a_column_of_a_newer_version_is_harmless_until_it_is_named(local_lake: Lake, segment: Row):
    local_lake.append("segments", [segment(segment_id="1")], "unit")
    _finish(local_lake, "unit", ["image-1"])
    stored = DeltaTable(f"{local_lake.root}/segments").to_pyarrow_table()
    _store(local_lake, "segments", stored.append_column("Mood", pa.array(["calm"])))
    assert _ids(local_lake) == ["1"]
    assert "Mood" not in read_only_query(local_lake, "SELECT * FROM segments").column_names
    for sql in (
        "SELECT mood FROM segments",
        "SELECT s.mood FROM segments AS s",
        "SELECT 1 FROM segments JOIN units USING (mood)",
    ):
        with pytest.raises(
            UnknownColumnError, match=r"'Mood' of table 'segments' .* newer version"
        ):
            read_only_query(local_lake, sql)


@pytest.mark.parametrize("withdrawn", [True, False])
def test_a_column_that_no_file_has_is_null(
    lake: Lake, segment: Row, monkeypatch: pytest.MonkeyPatch, withdrawn: bool
):
    """Its only file went, or a writer died between adding the column and its rows."""
    lake.append("segments", [segment(segment_id="1", image_id="a")], "unit-1")
    _finish(lake, "unit-1", ["a"])
    later = TABLES["segments"].field("run_id").with_name("later")
    monkeypatch.setitem(TABLES, "segments", TABLES["segments"].append(later))
    sql = "SELECT segment_id, later FROM stored.segments WHERE later IS NULL OR later > ''"
    if withdrawn:
        lake.append("segments", [segment(segment_id="2", image_id="b", later="x")], "unit-2")
        with connect(lake) as session:
            assert sorted(session.sql(sql).fetchall()) == [("1", None), ("2", "x")]
        remove_units(lake, "segments", {"unit-2": 2})
    else:
        stored = lake.table("segments")
        assert stored is not None
        stored.alter.add_columns(Schema.from_arrow(pa.schema([later])).fields)
    with connect(lake) as session:
        assert session.sql(sql).fetchall() == [("1", None)]
        assert session.sql("SELECT segment_id, later FROM segments").fetchall() == [("1", None)]
    assert read_only_query(lake, sql).to_pylist() == [{"segment_id": "1", "later": None}]


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("area_px", pa.array(["many"])),
        ("top", pa.array([[{"label": "a", "mood": "calm"}]])),
        ("bbox_xywh", pa.array(["1 2 3 4"])),
    ],
)
def test_a_column_of_another_type_is_told_to_those_who_read_its_table(
    local_lake: Lake, segment: Row, image: Row, column: str, values: pa.Array
):
    local_lake.append("segments", [segment()], "unit")
    local_lake.append("images", [image("image-1")], "unit")
    _finish(local_lake, "unit", ["image-1"])
    stored = DeltaTable(f"{local_lake.root}/segments").to_pyarrow_table()
    position = stored.column_names.index(column)
    _store(local_lake, "segments", stored.set_column(position, column, values))
    for sql in ("SELECT label FROM segments", "SELECT count(*) FROM stored.segments"):
        with pytest.raises(SchemaDriftError, match=rf"segments\.{column} should be .* stored as"):
            read_only_query(local_lake, sql)
    assert read_only_query(local_lake, "SELECT 1 FROM images").num_rows == 1
    with pytest.raises(SchemaDriftError):
        connect(local_lake)


@pytest.mark.parametrize("damage", [lambda file: file.unlink(), lambda file: file.write_bytes(b"")])
def test_a_file_that_cannot_be_read_is_no_fault_of_the_query(
    lake: Lake, segment: Row, damage: Callable[[Path], None], tmp_path: Path
):
    lake.append("segments", [segment()], "unit")
    _finish(lake, "unit", ["image-1"])
    (file,) = lake.live_files(lake.table_to_write("segments"))
    key = "/".join(file.split("/")[-2:])
    if lake.is_local:
        damage(Path(file))
    else:
        lake.objects.delete(key)
    with pytest.raises(UnreadableTableError, match=r"'segments' cannot be read: .*segmill verify"):
        read_only_query(lake, "SELECT * FROM segments")


def test_rows_are_found_by_columns_that_the_log_says_nothing_of(lake: Lake, segment: Row):
    if lake.is_local:
        DeltaTable.create(
            f"{lake.root}/segments",
            TABLES["segments"],
            configuration={"delta.dataSkippingStatsColumns": "image_id"},
        )
    lake.append("segments", [segment(model_id="m", margin=None), segment(model_id="n")], "unit")
    _finish(lake, "unit", ["image-1"], model_id="m")
    sql = "SELECT count(*) AS n FROM stored.segments WHERE model_id = 'm' AND margin IS NULL"
    assert read_only_query(lake, sql)["n"].to_pylist() == [1]
    with connect(lake) as session:
        assert session.sql(sql).fetchall() == [(1,)]


def _take_in(lake: Lake, drop: str, prefix: str, minute: int, *datasets: str | None) -> None:
    """Seal a drop for `mine` and `trial`; units of datasets take it in, None is an older unit."""
    sealed_at = datetime(2026, 5, 4, 3, minute, tzinfo=UTC)
    for dataset in ("mine", "trial"):
        sealed = {"drop_id": drop, "dataset": dataset, "prefix": prefix, "sealed_at": sealed_at,
                  "objects": 0, "bytes": 0, "files": []}  # fmt: skip
        lake.append("drops", [sealed], f"{drop} for {dataset}")
    for dataset in datasets:
        unit = f"{drop} in {dataset}"
        for name in [dataset] if dataset else ["mine", "trial"]:
            lake.append("annotations", [_annotation(drop, name)], f"{unit} {name}")
            lake.commit_unit(
                stage="ingest", unit_id=f"{unit} {name}", subject=drop, inputs=1, outputs=1,
                dataset=dataset,
            )  # fmt: skip


def _annotation(drop: str, dataset: str) -> dict[str, Any]:
    return {
        "dataset": dataset, "drop_id": drop, "annotation_id": "1", "image_id": "a",
        "category": "box", "bbox_xywh": [0.0, 0.0, 1.0, 1.0], "area_px": 1, "iscrowd": False,
        "source": "drop", "rle": "0",
    }  # fmt: skip


def _annotated(lake: Lake) -> list[tuple[str, str]]:
    with connect(lake) as session:
        return session.sql("SELECT dataset, drop_id FROM annotations ORDER BY ALL").fetchall()


def test_a_drop_replaces_an_older_one_in_the_datasets_that_it_was_ingested_in(lake: Lake):
    _take_in(lake, "old", "inbox/x/", 1, "mine", "trial")
    _take_in(lake, "new", "inbox/x/", 2)
    assert _annotated(lake) == [("mine", "old"), ("trial", "old")]
    _take_in(lake, "new", "inbox/x/", 2, "trial")
    assert _annotated(lake) == [("mine", "old"), ("trial", "new")]
    _take_in(lake, "new", "inbox/x/", 2, "mine")
    assert _annotated(lake) == [("mine", "new"), ("trial", "new")]


def test_a_drop_that_an_older_unit_ingested_replaces_in_every_dataset(lake: Lake):
    _take_in(lake, "old", "inbox/x/", 1, "mine", "trial")
    _take_in(lake, "new", "inbox/x/", 2, None)
    assert _annotated(lake) == [("mine", "new"), ("trial", "new")]
