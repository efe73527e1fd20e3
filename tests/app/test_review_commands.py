"""segmill review and segmill curate, as people type them."""

import csv
import io
import json

import cv2
import pytest

from storage.session import connect
from tests.exports import Drawn, Page, box, fill
from vision.masks import mask_to_png

MASKS = [box(30, 40, slice(n, n + 9), slice(n, n + 5)) for n in range(4)]


@pytest.fixture
def filled(root, command):
    """Two pages with four segments and as many annotations; what `command` uses."""
    pages = [
        Page(40, 30, [Drawn(MASKS[0], "panel", 0.9), Drawn(MASKS[1], "text", 0.4)]),
        Page(40, 30, [Drawn(MASKS[2], "panel", 0.8), Drawn(MASKS[3], "bubble", 0.7)]),
    ]
    return fill(root, pages)


def ask(filled, sql):
    with connect(filled.lake) as session:
        return session.execute(sql).fetchall()


def segment_of(filled, label):
    return ask(filled, f"SELECT segment_id FROM segments WHERE label = '{label}'")[0][0]


def decisions(filled):
    return ask(
        filled,
        "SELECT segments.label, decision, decisions.label, reviewer FROM decisions"
        " JOIN segments USING (segment_id) ORDER BY ALL",
    )


def test_segments_are_named_by_ids_their_beginnings_or_a_condition(command, filled):
    text, bubble = segment_of(filled, "text"), segment_of(filled, "bubble")
    told = command("review", "accept", text, bubble[:8], "--reviewer", "amy")
    assert (told.code, told.out, told.err) == (0, "", "recorded 2 decisions")
    told = command("review", "reject", "--where", "label = 'panel' -- both", "--reviewer", "bob")
    assert told.err == "recorded 2 decisions"
    assert decisions(filled) == [
        ("bubble", "accept", None, "amy"),
        ("panel", "reject", None, "bob"),
        ("panel", "reject", None, "bob"),
        ("text", "accept", None, "amy"),
    ]


def test_the_same_command_again_records_nothing(command, filled, monkeypatch):
    monkeypatch.setenv("SEGMILL_REVIEWER", "amy")
    for told in ("recorded 2 decisions", "2 segments had been decided so before"):
        assert told in command("review", "accept", "--where", "label = 'panel'").err
    assert ask(filled, "SELECT count(*) FROM reviews") == [(2,)]


def test_a_dry_run_records_nothing(command, filled):
    told = command("review", "accept", "--where", "true", "--dry-run")
    assert told.err == "would record 4 decisions"
    assert command("review", "accept", "--where", "true", "--dry-run", "--json").json() == {
        "recorded": 4, "repeated": 0, "stale": [], "dry_run": True,
    }  # fmt: skip
    assert decisions(filled) == []


def test_relabel_and_reopen(command, filled):
    text = segment_of(filled, "text")
    assert command("review", "relabel", text, "--label", "bubble", "--reviewer", "amy").code == 0
    assert decisions(filled) == [("text", "relabel", "bubble", "amy")]
    assert command("review", "reopen", text).code == 0
    assert decisions(filled) == []


def test_fix_takes_a_png_of_the_images_size(command, filled, tmp_path):
    text = segment_of(filled, "text")
    (tmp_path / "mask.png").write_bytes(mask_to_png(MASKS[3]))
    told = command("review", "fix", text, "--mask", "mask.png", "--label", "bubble")
    assert told.code == 0, told.err
    assert ask(
        filled, "SELECT label, area_px FROM curated WHERE source = 'review'"
    ) == [("bubble", int(MASKS[3].sum()))]  # fmt: skip
    (tmp_path / "wrong.png").write_bytes(mask_to_png(MASKS[3].T))
    (tmp_path / "none.png").write_bytes(b"no picture")
    for name, expected in (
        ("wrong.png", "expected a mask of 40 x 30 px"),
        ("none.png", "png"),
        ("absent.png", "no such file: absent.png"),
    ):
        told = command("review", "fix", text, "--mask", name)
        assert told.code == 2
        assert expected in told.err


def test_a_stale_decision_is_told_and_exits_with_1(command, filled):
    text = segment_of(filled, "text")
    command("review", "accept", text, "--reviewer", "amy")
    told = command("review", "reject", text, "--based-on", "0", "--reviewer", "bob")
    assert told.code == 1
    assert f"{text} was decided about meanwhile, and is left as it is: accept by amy" in told.err
    told = command("review", "reject", text, "--based-on", "0", "--reviewer", "bob", "--json")
    assert (told.code, told.json()["recorded"]) == (1, 0)
    assert told.json()["stale"][0]["newest"]["reviewer"] == "amy"
    assert command("review", "reject", text, "--based-on", "1", "--reviewer", "bob").code == 0
    shown = command("review", "show", text[:10], "--format", "json").json()
    assert [(row["decision"], row["reviewer"], row["version"]) for row in shown] == [
        ("accept", "amy", 1), ("reject", "bob", 2),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["accept"], "expected ids of segments or --where, but got neither"),
        (["accept", "abcdef12", "--where", "true"], "but got both"),
        (["accept", "ffffff"], "no such segment: 'ffffff'"),
        (["accept", "x"], "no such segment: 'x'"),
        (["accept", "--where", "lable = 'panel'"], "lable"),
        (["accept", "--where", "true; DROP TABLE x"], "syntax error"),
        (["accept", "--where", "true", "--reviewer", "rules:me"], "must not begin with 'rules:'"),
        (["relabel", "--label", "panels", "--where", "true"], "did you mean 'panel'?"),
        (["apply", "absent.csv"], "no such file: absent.csv"),
        (["sample", "-n", "401", "--sheet", "x.png"], "400 segments at most"),
    ],
)
def test_wrong_use_is_told(command, filled, arguments, told):
    answer = command("review", *arguments)
    assert answer.code == 2
    assert told in answer.err
    assert decisions(filled) == []


def test_a_beginning_that_several_segments_have_is_refused(command, filled):
    rows = filled.lake.read("segments").to_pylist()[:1] * 2
    rows = [row | {"segment_id": f"abcdef{n}", "unit_id": "u"} for n, row in enumerate(rows)]
    filled.lake.append("segments", rows, "u")
    filled.lake.commit_unit(stage="segment", unit_id="u", subject="b", inputs=1, outputs=2,
                            image_ids=["other"])  # fmt: skip
    told = command("review", "accept", "abcdef")
    assert told.code == 2
    assert "several segments begin with 'abcdef': abcdef0, abcdef1" in told.err


def test_nothing_that_fits_is_told(command, filled):
    told = command("review", "accept", "--where", "label = 'dog'")
    assert (told.code, told.err) == (0, "no segment fits: nothing was recorded")


def test_a_sample_is_filled_in_and_applied(command, filled, tmp_path):
    told = command("review", "sample", "--dataset", "comics", "--format", "csv", "-o", "todo.csv",
                   "--sheet", "todo.png")  # fmt: skip
    assert told.code == 0, told.err
    assert "pictures of 4 segments: todo.png" in told.err
    assert cv2.imread("todo.png").shape[1] == 4 * 230 + 10
    rows = list(csv.DictReader(io.StringIO((tmp_path / "todo.csv").read_text())))
    assert [row["decision"] for row in rows] == [""] * 4
    by_label = {row["found_label"]: row for row in rows}
    by_label["text"] |= {"decision": "relabel", "label": "bubble"}
    by_label["bubble"] |= {"decision": "accept"}
    with (tmp_path / "todo.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    command("review", "reject", segment_of(filled, "bubble"), "--reviewer", "bob")
    told = command("review", "apply", "todo.csv", "--reviewer", "amy")
    assert told.code == 1
    assert "recorded 1 decision" in told.err
    assert "reject by bob" in told.err
    assert decisions(filled) == [
        ("bubble", "reject", None, "bob"), ("text", "relabel", "bubble", "amy"),
    ]  # fmt: skip
    left = command("review", "sample", "--dataset", "comics", "--format", "json").json()
    assert {row["found_label"] for row in left} == {"panel"}


def test_a_sample_as_a_table_names_segments_and_files(command, filled):
    told = command("review", "sample", "--dataset", "comics", "-n", "2")
    assert told.code == 0
    assert segment_of(filled, "bubble") in told.out
    assert "pages/" in told.out
    assert "no segment is left" in command("review", "sample", "--dataset", "absent").err


def test_decisions_come_from_json_too(command, filled, tmp_path):
    rle = {"size": [30, 40], "counts": [0, 1200]}
    rows = [
        {"segment_id": segment_of(filled, "text"), "decision": "fix", "rle": rle, "based_on": 0,
         "reviewer": "cy", "decision_id": "1"},
        {"segment_id": segment_of(filled, "bubble"), "decision": None},
    ]  # fmt: skip
    (tmp_path / "done.json").write_text(json.dumps(rows))
    for recorded, repeated in ((1, 0), (0, 1)):
        told = command("review", "apply", "done.json", "--json").json()
        assert (told["recorded"], told["repeated"]) == (recorded, repeated)
    assert decisions(filled) == [("text", "fix", None, "cy")]


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("a.csv", "segment,decision\nx,accept\n", "expected a head line with segment_id and"),
        ("a.csv", "", "but got none"),
        ("a.csv", "segment_id,decision\nx,accept,z\n", "line 2 has another number of cells"),
        ("a.csv", "segment_id,decision\nx\n", "line 2 has another number of cells"),
        ("a.csv", 'segment_id,decision\n"x,accept\n', "a.csv: line"),
        ("a.csv", "segment_id,decision,lable\nx,accept,\n", "column 'lable', did you mean 'label'"),
        ("a.csv", "segment_id,decision,based_on\nx,accept,1.5\n", "line 2: expected based_on"),
        ("a.csv", b"segment_id,decision\n\xff,accept\n", "utf-8"),
        ("a.json", "[{", "a.json: "),
        ("a.json", "{}", "expected a list of decisions"),
        ("a.json", "[1]", "expected an object at /0"),
        ("a.json", '[{"segment_id": 7, "decision": "accept"}]', "/0: expected segment_id to be"),
        ("a.json", '[{"segment_id": "x", "decision": "fix", "rle": 5}]', "expected rle to be"),
        ("a.json", '[{"segment_id": "x", "decision": "accept"}]', "no such segment: 'x'"),
        ("a.json", '[{"segment_id": "x", "decision": "accept", "based_on": true}]', "based_on"),
        ("a.json", "[" * 100_000, "a.json: "),
        ("a.txt", "", "expected a .csv or .json file"),
    ],
)
def test_files_that_make_no_sense_are_told(command, filled, tmp_path, name, text, told):
    data = text if isinstance(text, bytes) else text.encode()
    (tmp_path / name).write_bytes(data)
    answer = command("review", "apply", name)
    assert answer.code == 2, answer.err
    assert told in answer.err
    assert decisions(filled) == []


def test_a_file_that_is_too_large_is_not_read(command, filled, tmp_path, monkeypatch):
    monkeypatch.setenv("SEGMILL_MAX_JSON_BYTES", "10")
    (tmp_path / "a.csv").write_text("segment_id,decision\n")
    assert "more than 10 (SEGMILL_MAX_JSON_BYTES)" in command("review", "apply", "a.csv").err


def test_rules_accept_and_the_new_masks_are_counted(command, filled, tmp_path, monkeypatch):
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    (tmp_path / "rules.yaml").write_text("min_score: 0.5\nannotated_images: true")
    arguments = ("curate", "--rules", "rules.yaml", "--dataset", "comics")
    told = command(*arguments, "--dry-run")
    assert told.code == 0, told.err
    assert "3 segments would be accepted, 0 would be reopened" in told.err
    assert decisions(filled) == []
    told = command(*arguments)
    assert "3 segments were accepted" in told.err
    assert "panel: 2 accepted" in told.err
    assert "7 curated masks in comics, 7 of 500 new ones" in told.err
    (tmp_path / "rules.yaml").write_text("min_score: 0.75\nannotated_images: true")
    told = command(*arguments, "--json").json()
    assert told["rules"]["reopened"] == {"bubble": 1}
    assert told["curation"]["new"] == 6
    assert command("curate", "--dataset", "comics", "--json").json()["rules"] is None


def test_wrong_rules_are_told_with_what_was_meant(command, filled, tmp_path):
    (tmp_path / "rules.yaml").write_text("min_scor: 0.5")
    told = command("curate", "--rules", "rules.yaml")
    assert told.code == 2
    assert "unknown key 'min_scor', did you mean 'min_score'?" in told.err


def test_curated_masks_are_exported(command, filled, tmp_path):
    command("review", "relabel", segment_of(filled, "text"), "--label", "bubble")
    command("review", "accept", segment_of(filled, "panel"))
    told = command("export", "coco", "--source", "curated", "-o", "out", "--json")
    assert told.code == 0, told.err
    assert told.json()["labels"] == {"bubble": 2, "panel": 3, "text": 1}
    document = json.loads((tmp_path / "out" / "annotations.json").read_text())
    assert len(document["annotations"]) == 6
    one = command("export", "coco", "--source", "curated", "-o", "one", "--label", "text", "--json")
    assert one.json()["objects"] == 1
    assert command("check", "out").code == 0
    told = command("export", "coco", "--source", "curated", "--min-score", "0.5", "-o", "no")
    assert (told.code, "curated masks have neither" in told.err) == (2, True)


@pytest.mark.parametrize(
    "verb", ["accept", "reject", "relabel", "fix", "reopen", "apply", "sample", "show"]
)
def test_the_help_of_each_verb_shows_an_example(command, verb):
    told = command("review", verb, "--help")
    assert told.code == 0
    assert f"segmill review {verb} " in told.out
