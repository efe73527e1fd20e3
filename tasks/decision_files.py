"""Decisions in a CSV or JSON file, as `segmill review sample` makes one to fill in."""

import csv
import io
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

from tasks.nearest_name import unknown_name
from tasks.review_decisions import Decision

COLUMNS = ("segment_id", "decision", "label", "rle", "based_on", "decision_id", "reviewer")
# What a sample tells beside them, for the person who fills it in.
TOLD_COLUMNS = (
    "number", "found_label", "second_label", "margin", "score", "uncertainty", "area_px",
    "file_name", "image_id", "model_id",
)  # fmt: skip
_SHOWN = 20


class DecisionFileError(ValueError):
    """A file of decisions that cannot be read; the message says where and why."""


def read_decisions(path: Path, reviewer: str, most_bytes: int) -> list[Decision]:
    """Read a file of decisions; rows without a decision are left out.

    Args:
        path: `.csv` with a head line, or `.json` with a list of objects. Of each, `segment_id` and
            `decision` are needed; `label`, `rle` (COCO counts, in JSON also an object with size and
            counts), `based_on`, `decision_id` and `reviewer` may be there.
        reviewer: Who decided where a row does not say so.
        most_bytes: Largest file that is read.

    Raises:
        DecisionFileError: If it is no such file, or rows of it make no sense; all are told.
    """
    if path.suffix.lower() not in (".csv", ".json"):
        raise DecisionFileError(f"expected a .csv or .json file, but got {path}")
    try:
        if path.stat().st_size > most_bytes:
            raise DecisionFileError(
                f"{path} has {path.stat().st_size:,} bytes, more than {most_bytes:,} "
                "(SEGMILL_MAX_JSON_BYTES)"
            )
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DecisionFileError(f"{path}: {error}") from error
    rows = list(_csv_rows(path, text) if path.suffix.lower() == ".csv" else _json_rows(path, text))
    decisions, problems = [], []
    for place, row in rows:
        try:
            if row.get("decision"):
                decisions.append(_decision(row, reviewer))
        except DecisionFileError as error:
            problems.append(f"{place}: {error}")
    if problems:
        more = [f"and {len(problems) - _SHOWN:,} more"] if len(problems) > _SHOWN else []
        raise DecisionFileError("\n  ".join([f"{path}:", *problems[:_SHOWN], *more]))
    return decisions


def _csv_rows(path: Path, text: str) -> Iterator[tuple[str, dict[str, Any]]]:
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        names = reader.fieldnames or ()
        if not {"segment_id", "decision"} <= set(names):
            raise DecisionFileError(
                f"{path}: expected a head line with segment_id and decision, but got "
                f"{', '.join(names)[:200] or 'none'}"
            )
        for row in reader:
            if None in row or None in row.values():
                raise DecisionFileError(
                    f"{path}: line {reader.line_num} has another number of cells than the head line"
                )
            yield f"line {reader.line_num}", {name: cell or None for name, cell in row.items()}
    except csv.Error as error:
        raise DecisionFileError(f"{path}: line {reader.line_num}: {error}") from error


def _json_rows(path: Path, text: str) -> Iterator[tuple[str, dict[str, Any]]]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DecisionFileError(f"{path}: {error}") from error
    if not isinstance(found, list):
        raise DecisionFileError(f"{path}: expected a list of decisions")
    for number, row in enumerate(found):
        if not isinstance(row, dict):
            raise DecisionFileError(f"{path}: expected an object at /{number}")
        yield f"/{number}", row


def _decision(row: Mapping[str, Any], reviewer: str) -> Decision:
    for name in row:
        if name not in COLUMNS and name not in TOLD_COLUMNS:
            raise DecisionFileError(unknown_name("column", str(name), COLUMNS))
    mask = row.get("rle")
    if not isinstance(mask, str | dict | None):
        raise DecisionFileError(f"expected rle to be a text or an object, but got {mask!r:.80}")
    return Decision(
        decision_id=_text(row, "decision_id") or str(uuid4()),
        segment_id=_text(row, "segment_id") or "",
        decision=_text(row, "decision") or "",
        reviewer=_text(row, "reviewer") or reviewer,
        label=_text(row, "label"),
        mask=mask,
        based_on=_number(row.get("based_on")),
    )


def _text(row: Mapping[str, Any], name: str) -> str | None:
    value = row.get(name)
    if value is None or isinstance(value, str):
        return value or None
    raise DecisionFileError(f"expected {name} to be a text, but got {value!r:.80}")


def _number(value: Any) -> int | None:
    if value is None or (isinstance(value, int) and not isinstance(value, bool)):
        return value
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) < 18:
        return int(value)
    raise DecisionFileError(f"expected based_on to be a whole number, but got {value!r:.80}")
