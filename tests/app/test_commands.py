import csv
import io
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.drops import RED, write_box_drop

ROOT = Path(__file__).parents[2]


def test_help_needs_neither_torch_nor_prefect():
    code = (
        "import sys; sys.argv = ['segmill', '--help']\n"
        "from app.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'prefect', 'duckdb', 'pyarrow', 'cv2'} & set(sys.modules)\n"
        "sys.exit(', '.join(sorted(heavy)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert "nightly" in done.stdout


@pytest.mark.parametrize(
    "verb",
    [
        "demo",
        "ingest",
        "check",
        "masks",
        "segment",
        "stats",
        "nightly",
        "sql",
        "query",
        "open",
        "predict",
        "watch",
        "doctor",
        "status",
        "up",
    ],
)
def test_the_help_of_each_verb_shows_an_example(segmill, verb):
    answer = segmill(verb, "--help")
    assert answer.code == 0
    assert f"segmill {verb}" in answer.out


def test_ingest_segment_and_stats_work_one_after_the_other(segmill, drop):
    ingested = segmill("ingest", drop, "--dataset", "boxes", "--json").json()
    assert ingested["drops"][0]["annotations"] == 3
    segmented = segmill("segment", "--dataset", "boxes", "--json").json()
    assert (segmented["images"], segmented["segments"]) == (2, 3)
    counted = segmill("stats", "--dataset", "boxes", "--json").json()
    assert {row["label"]: row["count"] for row in counted["labels"]} == {
        "blue": 1,
        "red": 1,
        "unknown": 1,
    }
    assert segmill("segment", "--dataset", "boxes", "--json").json()["batches"] == 0


def test_nightly_shows_what_it_did_and_where_the_page_is(segmill, drop):
    answer = segmill("nightly", drop)
    assert answer.code == 0
    assert "segments" in answer.out
    assert "reports/default-" in answer.out.replace("\n", "")
    assert "segment: 2 done" in answer.err


def test_json_is_all_there_is_on_stdout_and_nothing_else_is_said(segmill, drop):
    answer = segmill("nightly", drop, "--json")
    assert answer.json()["segment"]["segments"] == 3
    assert answer.err == ""


def test_quiet_says_nothing(segmill, drop):
    answer = segmill("nightly", drop, "--quiet")
    assert (answer.code, answer.out, answer.err) == (0, "", "")


def test_a_dry_run_names_the_work_and_writes_nothing(segmill, drop, root, tmp_path):
    monday = root / "inbox" / "monday"
    shutil.copytree(drop, monday)
    before = sorted(tmp_path.rglob("*"))
    (plan,) = segmill("ingest", "--dry-run", "--json").json()["drops"]
    assert (plan["source"], plan["images"], plan["masks"]) == (f"{monday}/", 2, 3)
    assert 0 < plan["masks_mb"] < plan["images_mb"] < 1
    assert plan["gpu_hours"] == pytest.approx(2 * 0.9 / 3600)
    assert "3 files" in segmill("ingest", drop, "--dry-run").out
    assert segmill("nightly", "--dry-run").code == 0
    assert sorted(tmp_path.rglob("*")) == before


def test_a_budget_defers_images_and_every_command_says_so(segmill, tmp_path, monkeypatch):
    monkeypatch.setenv("SEGMILL_BATCH_IMAGES", "1")
    monkeypatch.setenv("SEGMILL_DEVICE", "cpu")
    monkeypatch.setenv("SEGMILL_GPU_COST_PER_HOUR", "3600")
    write_box_drop(tmp_path / "drop", [[((4, 4, 10, 8 + n), RED)] for n in range(3)])
    segmill("ingest", tmp_path / "drop")
    tiny = ["--gpu-seconds-budget", "1e-6"]
    planned = segmill("segment", *tiny, "--dry-run")
    assert "images to do: 3" in planned.out
    assert "no batch of this model and preset was measured" in planned.out
    first = segmill("segment", *tiny, "--json").json()
    assert (first["images"], first["device"]["images_deferred"]) == (1, 2)
    assert first["device"]["cost"] == pytest.approx(first["device"]["seconds"]["cpu"], abs=1e-3)

    planned = segmill("nightly", *tiny, "--dry-run", "--json").json()
    assert (len(planned["images"]), len(planned["deferred"])) == (1, 1)
    assert planned["expected_seconds"] > planned["budget_seconds"]
    assert "as measured on cpu" in planned["deferred_because"]
    text = segmill("segment", *tiny, "--dry-run").out
    assert "images to do: 1" in text
    assert "images deferred, for the budget of 1e-06 s is for 0 images" in text
    assert "the mean of the last 1 batch" in text
    limited = segmill("segment", *tiny, "--max-batches", "1", "--dry-run", "--json").json()
    assert (len(limited["images"]), limited["deferred"]) == (1, [])

    monkeypatch.setenv("SEGMILL_GPU_SECONDS_BUDGET", "1e-6")
    status = segmill("status", "--json").json()
    assert (status["images_pending"], status["images_deferred"]) == (2, 1)
    assert status["last_runs"][-1]["devices"] == ["cpu"]
    assert status["cost"] == pytest.approx(status["last_runs"][-1]["device_seconds"])
    text = segmill("status").out
    assert "2 images to segment, 1 of them not in the next run: the budget of" in text
    assert "s on cpu, 0.0" in text
    done = segmill("segment")
    assert "device: " in done.err
    assert "deferred: 1 image: the budget of" in done.err
    last = segmill("nightly")
    assert "on cpu" in last.out
    assert "deferred" not in last.out
    spent = segmill("query", "cost_per_night", "--format", "json", "--param", "cost_per_hour=2")
    assert [(row["images"], row["device"]) for row in spent.json()] == [(3, "cpu")]


@pytest.mark.parametrize("budget", ["0", "-1", "nan", "inf", "many"])
def test_a_budget_that_is_none_is_wrong_use(segmill, budget):
    answer = segmill("segment", "--gpu-seconds-budget", budget)
    assert answer.code == 2
    assert "gpu-seconds-budget" in answer.err


def test_check_accepts_a_good_drop_and_points_at_what_is_wrong(segmill, drop, root):
    assert segmill("check", drop).code == 0
    path = drop / "annotations.json"
    path.write_text(path.read_text().replace("[[4, 4,", "[[4,", 1))
    answer = segmill("check", drop, "--json")
    assert answer.code == 1
    (finding,) = answer.json()["findings"]
    assert finding["pointer"] == "/annotations/0/segmentation/0"
    assert finding["rule"] == "polygon.odd"
    assert not root.exists()


def test_check_shows_a_few_findings_of_each_rule_or_all(segmill, tmp_path):
    folder = tmp_path / "boxes"
    write_box_drop(folder, [[((4 + n, 4, 9, 9), RED) for n in range(30)]])
    path = folder / "annotations.json"
    document = json.loads(path.read_text())
    document["annotations"] = [a | {"segmentation": []} for a in document["annotations"]]
    path.write_text(json.dumps(document))
    few = segmill("check", folder).out
    assert few.count("segmentation.empty") == 4
    assert "and 27 more" in few
    assert segmill("check", folder, "--all").out.count("segmentation.empty") == 30


def test_masks_writes_a_png_for_each_annotation(segmill, drop, tmp_path):
    document = drop / "annotations.json"
    answer = segmill("masks", document, "-o", tmp_path / "masks", "--json", "--processes", 1)
    assert answer.code == 0
    assert answer.json() == {"written": 3, "rejected": False, "findings": []}
    names = sorted(file.name for file in (tmp_path / "masks").iterdir())
    assert names[0] == "000000000001_000000000001.png"
    assert len(names) == 3
    document.write_text(document.read_text().replace("[[4, 4,", "[[4,", 1))
    answer = segmill("masks", document, "-o", tmp_path / "again", "--processes", 1)
    assert answer.code == 1
    assert "polygon.odd" in answer.out
    assert len(list((tmp_path / "again").iterdir())) == 2


def test_too_much_bad_input_fails_and_keeps_what_is_good(segmill, drop):
    (drop / "images" / "p2.png").write_bytes(b"")
    answer = segmill("ingest", drop)
    assert answer.code == 1
    assert "50%" in answer.err
    assert segmill("sql", "SELECT count(*) AS n FROM images", "--format", "json").json() == [
        {"n": 1}
    ]


@pytest.mark.parametrize(
    "arguments",
    [
        ["ingest", "missing-folder"],
        ["ingest", "--dataset", "../up"],
        ["ingest", "--root", "gs://bucket"],
        ["segment", "--model", "file:missing.safetensors"],
        ["segment", "--labels", "missing"],
        ["segment", "--preset", "missing"],
        ["sql", "SELECT nonsense"],
        ["sql", "DROP VIEW images"],
        ["sql", "SELECT 1", "--as-of", "segments"],
        ["predict", "--output-dir", "out"],
        ["no-such-verb"],
    ],
)
def test_wrong_use_is_told_in_a_sentence_with_exit_code_2(segmill, arguments):
    answer = segmill(*arguments)
    assert answer.code == 2
    assert answer.data == b""
    assert "Traceback" not in answer.err


def test_sql_answers_in_every_format(segmill, drop, tmp_path):
    segmill("nightly", drop, "--quiet")
    query = "SELECT label, count(*) AS n FROM segments GROUP BY label ORDER BY label"
    expected = [("blue", 1), ("red", 1), ("unknown", 1)]
    assert [tuple(row.values()) for row in segmill("sql", query, "--format", "json").json()] == (
        expected
    )
    lines = csv.reader(io.StringIO(segmill("sql", query, "--format", "csv").out))
    assert [(label, int(n)) for label, n in list(lines)[1:]] == expected
    table = pq.read_table(pa.BufferReader(segmill("sql", query, "--format", "parquet").data))
    assert [tuple(row.values()) for row in table.to_pylist()] == expected
    assert "unknown" in segmill("sql", query).out
    assert segmill("sql", query, "--format", "csv", "-o", tmp_path / "a.csv").data == b""
    assert (tmp_path / "a.csv").read_text().startswith("label,n\n")


def test_case_137_csv_disarms_cells_that_a_spreadsheet_would_run(segmill):
    answer = segmill("sql", "SELECT '=cmd()' AS a, -1 AS b", "--format", "csv")
    assert answer.out == "a,b\n'=cmd(),-1\n"


def test_csv_leaves_the_column_rle_as_it_is(segmill):
    query = "SELECT '=0' AS rle, '@1' AS other, '@1' AS \"RLE\""
    answer = segmill("sql", query, "--format", "csv")
    assert answer.out == "rle,other,RLE\n=0,'@1,'@1\n"
    told = segmill("sql", "--help").out.replace("│", " ").split()
    assert "except in the column rle" in " ".join(told)


def test_sql_can_look_back(segmill, drop):
    segmill("nightly", drop, "--quiet")
    query = "SELECT count(*) AS n FROM segments"
    answer = segmill("sql", query, "--as-of", "segments=0", "--format", "json")
    assert answer.json() == [{"n": 0}]


def test_crops_are_exported_by_label(segmill, drop, tmp_path):
    segmill("nightly", drop, "--quiet")
    answer = segmill("export", "crops", "--output", "crops", "--label", "red", "--json")
    assert answer.json()["written"] == 1
    (crop,) = (tmp_path / "crops").rglob("*.png")
    assert crop.parts[-3] == "red"
    assert crop.name.startswith("red_")


def test_stats_writes_a_page(segmill, drop, tmp_path):
    segmill("nightly", drop, "--quiet")
    assert "union_area_px" in segmill("stats", "--html", "page.html").out
    assert "red" in (tmp_path / "page.html").read_text()


def test_a_link_to_a_folder_is_pointed_out_by_check(segmill, drop, tmp_path):
    (drop / "images" / "more").symlink_to(tmp_path)
    answer = segmill("check", drop, "--json")
    assert answer.code == 1
    assert [(f["file"], f["rule"]) for f in answer.json()["findings"]] == [
        ("images/more", "drop.unsafe_name")
    ]


def test_models_list_names_the_models_that_ship(segmill):
    rows = segmill("models", "list", "--json").json()["models"]
    assert {row["kind"] for row in rows if row["reference"] == "demo"} == {"segmenter", "labeller"}


def test_the_demo_shows_a_night_and_the_second_one_finds_no_work(segmill, tmp_path):
    first = segmill("demo", "--root", "demo", "--pages", "2", "--json").json()
    (drop,) = first["ingest"]["drops"]
    assert (drop["images"], drop["quarantined"]) == (2, 2)
    assert first["segment"]["images"] == 2
    count = "SELECT (SELECT count(*) FROM units) AS u, (SELECT count(*) FROM segments) AS s"
    before = segmill("sql", count, "--root", "demo", "--format", "json").json()
    second = segmill("demo", "--root", "demo", "--pages", "2")
    assert second.code == 0
    for word in ("segmill sql", "webbrowser", "prefect deployment run", "polygon.odd"):
        assert word in second.out
    assert segmill("sql", count, "--root", "demo", "--format", "json").json() == before
