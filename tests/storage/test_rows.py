import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from storage.rows import _is_sorted, rows_to_table
from storage.schemas import TABLES

PAIRS = st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("xyz")), max_size=6)


def columns(rows):
    return [pa.chunked_array([pa.array([row[at] for row in rows], pa.string())]) for at in (0, 1)]


@given(PAIRS)
def test_what_is_sorted_is_told_from_what_is_not(rows):
    assert _is_sorted(columns(rows)) == (rows == sorted(rows))
    assert _is_sorted(columns(sorted(rows)))


def test_unknown_values_are_never_taken_for_sorted():
    assert not _is_sorted([pa.chunked_array([pa.array(["a", None], pa.string())])])


@given(PAIRS)
def test_rows_come_out_in_order_whatever_order_they_had(rows):
    schema = TABLES["image_labels"]
    data = pa.table(
        {
            name: pa.array([], schema.field(name).type) if not rows else value
            for name, value in {
                "image_id": [image for _, image in rows],
                "label": [label for label, _ in rows],
                **{
                    name: ["same"] * len(rows) for name in ("model_id", "params_id", "label_set_id")
                },
                **{name: [1] * len(rows) for name in ("count", "total_area_px", "union_area_px")},
            }.items()
        }
    )
    found = rows_to_table("image_labels", schema, data, "unit")
    assert list(zip(*(found[name].to_pylist() for name in ("label", "image_id")), strict=True)) == (
        sorted(rows)
    )
