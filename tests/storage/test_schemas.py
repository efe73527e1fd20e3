import subprocess
import sys

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from storage.schemas import TABLES, UNIT_TABLES
from storage.schemas.document import PATH, tables_document
from storage.settings import get_settings
from storage.units import unit_id

HEX = st.text("0123456789abcdef", min_size=4, max_size=8)


@pytest.mark.parametrize("table", TABLES)
def test_every_table_and_column_says_what_it_means(table: str):
    schema = TABLES[table]
    assert schema.metadata[b"meaning"].endswith(b".")
    for field in schema:
        assert field.metadata[b"meaning"], field.name
        assert b"unit" in field.metadata, field.name


@pytest.mark.parametrize("table", TABLES)
def test_names_tell_the_unit_of_measured_columns(table: str):
    for field in TABLES[table]:
        ends_with_px = field.name.endswith(("_px", "_xywh", "_xy"))
        assert ends_with_px == (field.metadata[b"unit"] == b"px"), field.name
        if pa.types.is_timestamp(field.type):
            assert field.type.tz == "UTC"


def test_the_tables_of_work_on_images_belong_to_units():
    assert {
        "images",
        "annotations",
        "segments",
        "image_labels",
        "quarantine",
        "label_stats",
    } == UNIT_TABLES


@given(st.lists(HEX), st.randoms())
def test_the_order_and_repeats_of_inputs_do_not_change_a_unit(inputs: list[str], random):
    shuffled = inputs + inputs[:2]
    random.shuffle(shuffled)
    assert unit_id("segment", inputs, model_id="m") == unit_id("segment", shuffled, model_id="m")


@given(st.sets(HEX), st.sets(HEX))
def test_other_inputs_are_another_unit(left: set[str], right: set[str]):
    assert (unit_id("segment", left) == unit_id("segment", right)) == (left == right)


def test_whatever_changes_the_result_changes_the_unit(monkeypatch: pytest.MonkeyPatch):
    ids = [
        unit_id("segment", ["a"], model_id="m", params_id="p"),
        unit_id("ingest", ["a"], model_id="m", params_id="p"),
        unit_id("segment", ["a"], model_id="p", params_id="m"),
        unit_id("segment", ["a"], model_id="m"),
        unit_id("segment", ["a", "m"], params_id="p"),
        unit_id("segment", ["a,m"], params_id="p"),
    ]
    monkeypatch.setattr("storage.units.SCHEMA_VERSION", 2)
    ids.append(unit_id("segment", ["a"], model_id="m", params_id="p"))
    assert len(set(ids)) == len(ids)


def test_a_unit_has_the_same_id_in_every_process():
    code = "from storage.units import unit_id; print(unit_id('segment', {'a', 'b', 'c'}, x=1))"
    found = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for seed in ("1", "2")
    }
    assert found == {unit_id("segment", ["a", "b", "c"], x=1)}


def test_a_parameter_that_json_cannot_hold_is_refused():
    with pytest.raises(ValueError, match="JSON"):
        unit_id("segment", [], threshold=float("nan"))


def test_settings_are_read_from_the_environment_each_time(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SEGMILL_ROOT", "s3://bucket/prefix")
    monkeypatch.setenv("SEGMILL_BATCH_IMAGES", "3")
    assert get_settings().root == "s3://bucket/prefix"
    assert get_settings().batch_images == 3
    monkeypatch.delenv("SEGMILL_ROOT")
    assert get_settings().root == "segmill-root"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("QUARANTINE_MAX_FRACTION", "1.5"),
        ("BATCH_IMAGES", "0"),
        ("DROP_QUIET_SECONDS", "-1"),
        ("GPU_SECONDS_BUDGET", "0"),
        ("GPU_SECONDS_BUDGET", "nan"),
        ("GPU_COST_PER_HOUR", "inf"),
        ("CURRENCY", "euro"),
    ],
)
def test_a_setting_out_of_range_is_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
):
    monkeypatch.setenv(f"SEGMILL_{name}", value)
    with pytest.raises(ValidationError, match=name.lower()):
        get_settings()


def test_storage_imports_neither_torch_nor_prefect_nor_boto3_before_it_is_needed():
    code = (
        "import sys, storage.lake, storage.objects, storage.queries;"
        "print({'torch', 'prefect', 'boto3'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_the_page_about_the_tables_is_up_to_date():
    assert PATH.read_text(encoding="utf-8") == tables_document(), (
        "run python -m storage.schemas.document"
    )
