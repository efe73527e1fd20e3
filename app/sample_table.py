"""The segments that are drawn for review, as a table to read or to fill in."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

    from tasks.review_sample import SampledSegment


def sample_table(chosen: "Sequence[SampledSegment]", output_format: str) -> "pa.Table":
    """A sample's columns: few to read; else those of a file of decisions, and what helps to decide.

    Args:
        chosen: The segments.
        output_format: `table`, `csv`, `json` or `parquet`.
    """
    import pyarrow as pa

    def texts(name: str) -> "pa.Array":
        return pa.array([getattr(item, name) for item in chosen], pa.string())

    def numbers(name: str, kind: "pa.DataType") -> "pa.Array":
        return pa.array([getattr(item, name) for item in chosen], kind)

    told = {
        "number": numbers("number", pa.int64()),
        "segment_id": texts("segment_id"),
        "found_label": texts("label"),
        "second_label": texts("second_label"),
        "margin": numbers("margin", pa.float64()),
        "score": numbers("score", pa.float64()),
    }
    if output_format == "table":
        return pa.table(told | {"file_name": texts("file_name")})
    nothing = pa.nulls(len(chosen), pa.string())
    to_fill_in = {"segment_id": told.pop("segment_id"), "decision": nothing, "label": nothing}
    more = {
        "uncertainty": numbers("uncertainty", pa.float64()),
        "area_px": numbers("area_px", pa.int64()),
        "file_name": texts("file_name"),
        "image_id": texts("image_id"),
        "model_id": texts("model_id"),
    }
    return pa.table(to_fill_in | {"based_on": numbers("based_on", pa.int64())} | told | more)
