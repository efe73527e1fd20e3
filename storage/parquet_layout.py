"""How the tables' columns are encoded and compressed in Parquet files.

Everything used here is read by DuckDB, Arrow, Polars and Spark.
"""

from collections.abc import Iterator
from typing import Any

import pyarrow as pa

_DICTIONARY_COLUMNS = {
    "bbox_xywh.list.element",
    "category",
    "crop_box_xywh.list.element",
    "dataset",
    "device",
    "drop_id",
    "image_id",
    "label",
    "label_set_id",
    "model_id",
    "params_id",
    "point_xy.list.element",
    "rule",
    "run_id",
    "source",
    "split",
    "stage",
    "unit_id",
}
_ENCODINGS = {
    "annotation_id": "DELTA_LENGTH_BYTE_ARRAY",
    "area_px": "DELTA_BINARY_PACKED",
    "parent_id": "DELTA_LENGTH_BYTE_ARRAY",
    "rle": "DELTA_LENGTH_BYTE_ARRAY",
    "segment_id": "DELTA_LENGTH_BYTE_ARRAY",
}
# A reader skips pages without unpacking them. This is a sixteenth of what Parquet's writer makes.
_PAGE_BYTES = 65_536
# Hardly two rows have the same, so that nobody asks for a range of them.
_WITHOUT_BOUNDS = {"annotation_id", "parent_id", "rle", "segment_id"}


def parquet_layout(schema: pa.Schema) -> dict[str, Any]:
    """Return the options of `pyarrow.parquet.ParquetWriter` for a table's columns.

    Args:
        schema: The columns. Those of fractions are not compressed: their digits are random.
    """
    leaves = [leaf for field in schema for leaf in _leaves(field.name, field.type)]
    fractions = {field.name for field in schema if pa.types.is_floating(field.type)}
    compressed = [leaf for leaf in leaves if leaf not in fractions]
    return {
        "compression": {leaf: "ZSTD" if leaf in compressed else "NONE" for leaf in leaves},
        "compression_level": dict.fromkeys(compressed, 1),
        "data_page_size": _PAGE_BYTES,
        "use_dictionary": [leaf for leaf in leaves if leaf in _DICTIONARY_COLUMNS],
        "column_encoding": {leaf: _ENCODINGS[leaf] for leaf in leaves if leaf in _ENCODINGS},
        "write_statistics": [leaf for leaf in leaves if leaf not in _WITHOUT_BOUNDS],
    }


def _leaves(path: str, kind: pa.DataType) -> Iterator[str]:
    """Paths of the columns that Parquet makes of one."""
    if pa.types.is_list(kind):
        yield from _leaves(f"{path}.list.element", kind.value_type)
    elif pa.types.is_struct(kind):
        for field in kind:
            yield from _leaves(f"{path}.{field.name}", field.type)
    else:
        yield path
