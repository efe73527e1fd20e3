"""maintain, retract and verify, as a person calls them."""

import json
import shutil
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from app.failures import exit_code_of, message_of
from app.maintenance import maintain
from app.options import FINDINGS, WRONG_USE
from app.retraction import retract
from app.verification import verify
from storage.lake import Lake
from tests.lakes import image_row, segment_row

COMMANDS = typer.Typer()
for verb in (maintain, retract, verify):
    COMMANDS.command()(verb)
MODEL = "mo'del"


@pytest.fixture
def lake(tmp_path, monkeypatch) -> Lake:
    """Two units of two models, of an image each."""
    monkeypatch.setenv("SEGMILL_ROOT", str(tmp_path))
    lake = Lake.open(str(tmp_path))
    for number, model in enumerate((MODEL, "other")):
        unit, image = f"unit-{number}", f"image-{number}"
        lake.append("images", [image_row(image)], unit)
        lake.append("segments", [segment_row(image, model_id=model)], unit)
        lake.commit_unit(
            stage="segment", unit_id=unit, subject="drop", inputs=1, outputs=1, run_id="run",
            image_ids=[image], model_id=model, params_id="params", label_set_id="labels",
        )  # fmt: skip
    return lake


def call(*arguments, answer=None):
    return CliRunner().invoke(COMMANDS, list(arguments), input=answer)


def stored(lake):
    return sorted(lake.read("segments", committed_only=False)["model_id"].to_pylist())


def test_maintain_shows_each_table_and_says_what_a_dry_run_would_do(lake):
    before = lake.file_uris("segments")
    planned = call("maintain", "--dry-run")
    assert planned.exit_code == 0
    assert "nothing was changed" in planned.stderr
    assert lake.file_uris("segments") == before
    done = call("maintain", "--json")
    tables = {table["table"]: table for table in json.loads(done.stdout)["tables"]}
    assert (tables["segments"]["files_before"], tables["segments"]["files_after"]) == (2, 1)
    assert "segments" in call("maintain").stdout


def test_maintain_of_a_lake_that_is_not_there_says_so(tmp_path):
    answer = call("maintain", "--root", str(tmp_path / "none"))
    assert answer.exit_code == 0
    assert "no table" in answer.stderr


def test_maintain_fails_with_the_name_of_a_damaged_file(lake):
    path = Path(lake.file_uris("segments")[0])
    path.write_bytes(path.read_bytes()[:-1])
    answer = call("maintain")
    assert exit_code_of(answer.exception) == FINDINGS
    assert path.name in message_of(answer.exception)


def test_maintain_goes_on_after_a_table_whose_log_is_lost_or_unreadable(lake):
    unreadable = Path(lake.root, "segments", "_delta_log")
    (unreadable / f"{1:020}.json").write_bytes(b"\xff{")
    lost = Path(lake.root, "images", "_delta_log")
    shutil.rmtree(lost)
    answer = call("maintain", "--json")
    assert exit_code_of(answer.exception) == FINDINGS
    assert [table["table"] for table in json.loads(answer.stdout)["tables"]] == ["units"]
    told = message_of(answer.exception)
    assert f"{unreadable}: the log cannot be read: Kernel error" in told
    assert f"{lost}: the log is missing, but 2 Parquet files are there" in told
    assert "\n" not in told
    assert len(lake.file_uris("units")) == 1


def test_retract_says_what_goes_and_takes_yes_for_an_answer(lake):
    planned = call("retract", "--model", MODEL, "--dry-run")
    assert "segments: 1 row" in planned.stderr
    assert stored(lake) == [MODEL, "other"]
    done = call("retract", "--model", MODEL, "--yes")
    assert "removed rows: 1 of units" in done.stderr
    assert stored(lake) == ["other"]


def test_retract_without_a_terminal_wants_yes(lake):
    answer = call("retract", "--run", "run", answer="y\n")
    assert answer.exit_code == WRONG_USE
    assert "expected --yes" in answer.stderr
    assert stored(lake) == [MODEL, "other"]


@pytest.mark.parametrize(("answer", "left"), [("n\n", 2), ("y\n", 1)])
def test_retract_asks_at_a_terminal(lake, monkeypatch, answer, left):
    monkeypatch.setattr("app.retraction._is_terminal", lambda: True)
    done = call("retract", "--model", MODEL, answer=answer)
    assert done.exit_code == (0 if left == 1 else FINDINGS)
    assert len(stored(lake)) == left


@pytest.mark.parametrize("options", [(), ("--model", "m", "--run", "r")])
def test_retract_wants_one_thing_to_go_by(lake, options):
    answer = call("retract", *options)
    assert answer.exit_code == WRONG_USE
    assert "expected one of --model" in answer.stderr


def test_retract_of_an_unknown_model_names_the_known_ones(lake):
    answer = call("retract", "--model", "none", "--yes")
    assert exit_code_of(answer.exception) == WRONG_USE
    assert "expected one of mo'del, other" in message_of(answer.exception)


def test_retract_answers_with_one_json_object(lake):
    answer = call("retract", "--model", "other", "--yes", "--json")
    told = json.loads(answer.stdout)
    assert told["rows"] == told["removed"] == {"segments": 1, "images": 1, "units": 1}
    assert answer.stderr == ""


def test_verify_of_a_good_lake_exits_0(lake):
    answer = call("verify")
    assert answer.exit_code == 0
    assert "6 files of 3 tables read" in answer.stderr
    assert answer.stdout == ""


def test_verify_names_units_that_a_table_lost(lake):
    Path(lake.root, "segments", "_delta_log", f"{2:020}.json").unlink()
    answer = call("verify")
    assert answer.exit_code == FINDINGS
    assert "lost: segments: unit unit-1 is finished, but its commit is gone" in answer.stdout
    assert "none damaged, 1 commit lost" in answer.stderr
    told = {
        table["table"]: table for table in json.loads(call("verify", "--json").stdout)["tables"]
    }
    assert told["segments"]["lost_units"] == ["unit-1"]
    assert call("verify", "--table", "units").exit_code == 0


def test_verify_of_a_lake_that_is_not_there_says_so(tmp_path):
    answer = call("verify", "--root", str(tmp_path / "typo"))
    assert answer.exit_code == WRONG_USE
    assert "but found none" in answer.stderr


def test_verify_names_each_damaged_file_and_exits_1(lake):
    flipped, gone = (Path(uri) for uri in lake.file_uris("segments"))
    content = bytearray(flipped.read_bytes())
    content[100] ^= 1
    flipped.write_bytes(content)
    gone.unlink()
    stray = flipped.with_name("part-stray.parquet")
    stray.write_bytes(b"")
    stray.with_name(".segmill-tmp-died").write_bytes(b"")
    answer = call("verify", "--table", "segments")
    assert answer.exit_code == FINDINGS
    assert f"damaged: {flipped}: expected sha256" in answer.stdout
    assert f"damaged: {gone}: it is missing" in answer.stdout
    assert str(stray) in answer.stderr
    assert call("verify", "--table", "units").exit_code == 0
    told = json.loads(call("verify", "--json").stdout)
    assert sum(len(table["damaged"]) for table in told["tables"]) == 2
