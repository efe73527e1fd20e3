import random
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from storage.errors import DamagedFileError, PromotionConflictError
from storage.lake import Lake
from storage.maintenance import maintain_table
from storage.promotions import Why, read_promotions, record_promotion, standing_promotions
from storage.schemas import TABLES
from storage.session import connect

BY_HAND = Why("by hand", note="a test", promoted_by="me@here", run_id="run-1")
OLD_COLUMNS = ["promotion_id", "model_id", "previous_id", "evaluation_id", "reason", "promoted_at"]


def promote_all(lake: Lake, models: str, why: Why = BY_HAND) -> None:
    live = "0"
    for model in models:
        record_promotion(lake, len(read_promotions(lake)), model, live, why)
        live = model


def test_the_last_promotion_counts_and_says_why(lake: Lake):
    assert read_promotions(lake) == []
    promote_all(lake, "ab")
    first, last = read_promotions(lake)
    assert (first.number, first.model_id, first.previous_id) == (1, "a", "0")
    assert (last.number, last.model_id, last.previous_id) == (2, "b", "a")
    assert last.why == BY_HAND
    assert last.promoted_at.tzinfo is not None
    with connect(lake) as session:
        found = session.sql("SELECT model_id, reason FROM promotions ORDER BY number").fetchall()
    assert found == [("a", "by hand"), ("b", "by hand")]


def test_the_second_of_two_who_decided_at_once_is_told_who_won(lake: Lake):
    promote_all(lake, "a")
    record_promotion(lake, 1, "b", "a", BY_HAND)
    with pytest.raises(PromotionConflictError) as caught:
        record_promotion(lake, 1, "c", "a", Why("gate"))
    assert caught.value.live == "b"
    for word in ("c is not promoted", "while a was live", "b became live", "me@here"):
        assert word in str(caught.value)
    with pytest.raises(PromotionConflictError):
        record_promotion(lake, 0, "c", "0", Why("gate"))
    assert [each.model_id for each in read_promotions(lake)] == ["a", "b"]


def test_a_promotion_whose_answer_was_lost_is_known_again(
    local_lake: Lake, monkeypatch: pytest.MonkeyPatch
):
    append = Lake.append

    def lose_the_answer(self, table, rows, unit_id):
        append(self, table, rows, unit_id)
        return append(self, table, rows, unit_id)

    monkeypatch.setattr(Lake, "append", lose_the_answer)
    assert record_promotion(local_lake, 0, "a", "0", BY_HAND).model_id == "a"
    assert [each.model_id for each in read_promotions(local_lake)] == ["a"]


def test_rollbacks_go_further_back_and_never_forth(local_lake: Lake):
    chosen = random.Random(3)
    expected, live = ["0"], "0"
    for number in range(60):
        if chosen.random() < 0.45 and len(expected) > 1:
            expected.pop()
            record_promotion(local_lake, number, expected[-1], live, Why("rollback"))
        else:
            expected.append(f"m{number}")
            record_promotion(local_lake, number, expected[-1], live, BY_HAND)
        live = expected[-1]
        standing = standing_promotions(read_promotions(local_lake))
        assert ["0", *(each.model_id for each in standing)] == expected
        if number % 20 == 19:
            maintain_table(local_lake, "promotions")
    assert len(local_lake.file_uris("promotions")) < 25


def test_a_lost_or_harmed_promotion_is_an_error_and_no_other_model(tmp_path: Path):
    lake = Lake.open(str(tmp_path))
    promote_all(lake, "ab")
    paths = [Path(uri) for uri in lake.file_uris("promotions")]
    for path in paths:
        good = path.read_bytes()
        path.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
        with pytest.raises(DamagedFileError, match=path.name):
            read_promotions(lake)
        path.unlink()
        with pytest.raises(DamagedFileError, match="missing"):
            read_promotions(lake)
        path.write_bytes(good)
    assert len(read_promotions(lake)) == 2
    (tmp_path / "lake" / "promotions" / "_delta_log").rename(tmp_path / "log")
    with pytest.raises(DamagedFileError, match="log is missing"):
        read_promotions(lake)


def test_a_promotion_that_was_taken_out_of_the_table_is_missed(local_lake: Lake):
    promote_all(local_lake, "abc")
    DeltaTable(f"{local_lake.root}/promotions").delete("model_id = 'b'")
    with pytest.raises(DamagedFileError, match="promotion 2 is missing"):
        read_promotions(local_lake)


def test_a_table_without_the_newer_columns_goes_on(tmp_path: Path):
    lake = Lake.open(str(tmp_path))
    old = pa.schema([TABLES["promotions"].field(name) for name in OLD_COLUMNS])
    rows = [
        {"promotion_id": name, "model_id": name, "reason": "by hand",
         "promoted_at": datetime(2026, 1, day, tzinfo=UTC)}
        for day, name in ((2, "b"), (1, "a"))
    ]  # fmt: skip
    write_deltalake(f"{lake.root}/promotions", pa.Table.from_pylist(rows, old))
    assert [(each.number, each.model_id) for each in read_promotions(lake)] == [(1, "a"), (2, "b")]
    record_promotion(lake, 2, "c", "b", BY_HAND)
    assert [each.model_id for each in read_promotions(lake)] == ["a", "b", "c"]
    assert lake.read("promotions").num_rows == 3
