"""segmill stats by label, dataset, model and night, on a lake counted by hand."""

import time
from datetime import UTC, datetime, timedelta

import pytest

from storage.settings import get_settings
from tasks.models import choose_models
from tests.lakes import NIGHT, cut, image_row, ingest, segment_row

NEXT = NIGHT.replace(hour=23) + timedelta(days=1)


@pytest.fixture
def stats(command, lake, monkeypatch, tmp_path):
    """`segmill stats` on two nights of two datasets, cut by the model of the options and another.

    Night 1, dataset comics: 2 panels of 100 and 300 px, 1 unknown of 10 px.
    Night 2, dataset photos: 1 text of 40 px. Another model: 1 text of 7 px in comics.
    """
    for name in ("cutter", "namer"):
        (tmp_path / f"{name}.safetensors").write_bytes(name.encode())
    monkeypatch.setenv("SEGMILL_MODEL", "file:cutter.safetensors")
    monkeypatch.setenv("SEGMILL_CLIP_MODEL", "file:namer.safetensors")
    settings = get_settings()
    choice = choose_models.fn(
        model=settings.model, clip_model=settings.clip_model, labels=settings.labels,
        preset=settings.preset, precision=settings.precision, root=settings.root,
    )  # fmt: skip
    ids = {name: getattr(choice, name) for name in ("model_id", "params_id", "label_set_id")}
    ingest(lake, "drop", [image_row("a"), image_row("b", dataset="photos")])
    first = [
        segment_row("a", "panel", area_px=100),
        segment_row("a", "panel", area_px=300),
        segment_row("a", "unknown", area_px=10, score=0.15),
    ]
    for label, count, total_px, union_px in (("panel", 2, 400, 350), ("unknown", 1, 10, 10)):
        row = {
            "image_id": "a", "label": label, "count": count, "total_area_px": total_px,
            "union_area_px": union_px, **ids,
        }  # fmt: skip
        lake.append("image_labels", [row], f"partial-{label}")
    cut(lake, "night-1", ["a"], first, **ids)
    cut(lake, "night-2", ["b"], [segment_row("b", "text", area_px=40, created_at=NEXT)], **ids)
    cut(lake, "other", ["a"], [segment_row("a", "text", area_px=7)], model_id="other")

    return lambda *arguments: command("stats", *arguments)


def columns(rows, *names):
    return [tuple(row[name] for name in names) for row in rows]


def test_labels_are_counted_and_drawn(stats):
    answer = stats("--dataset", "comics")
    lines = [line for line in answer.out.splitlines() if "█" in line]
    assert [line.split()[0] for line in lines] == ["panel", "unknown"]
    assert [line.count("█") for line in lines] == [24, 12]
    rows = stats("--dataset", "comics", "--json").json()["labels"]
    assert columns(rows, "label", "count", "total_area_px") == [
        ("panel", 2, 400),
        ("unknown", 1, 10),
    ]


def test_nights_are_counted_in_their_order(stats):
    answer = stats("--by", "night", "--dataset", "comics", "--json").json()
    names = ("night", "count", "images", "total_area_px", "mean_score", "unknown_share")
    assert columns(answer["nights"], *names) == [
        ("2026-05-04", 3, 1, 410, pytest.approx(0.55), pytest.approx(1 / 3))
    ]
    answer = stats("--by", "night", "--dataset", "photos", "--json").json()
    assert columns(answer["nights"], "night", "count") == [("2026-05-05", 1)]


def test_datasets_and_models_are_compared(stats):
    answer = stats("--by", "dataset", "--json").json()
    assert columns(answer["datasets"], "dataset", "count") == [("comics", 3), ("photos", 1)]
    answer = stats("--by", "dataset", "--dataset", "photos", "--json").json()
    assert columns(answer["datasets"], "dataset", "count") == [("photos", 1)]
    answer = stats("--by", "model", "--dataset", "comics", "--json").json()
    assert [row["count"] for row in answer["models"]] == [3, 1]
    assert answer["models"][1]["model"] == "other"
    assert answer["models"][1]["params_id"] == "params"
    assert "other" in stats("--by", "model", "--dataset", "comics").out


def test_only_what_was_found_since_a_time_is_counted(stats):
    answer = stats("--dataset", "comics", "--since", "2026-05-04", "--json").json()
    assert columns(answer["labels"], "label", "count") == [("panel", 2), ("unknown", 1)]
    answer = stats("--dataset", "comics", "--since", "2026-05-05", "--json").json()
    assert answer["labels"] == []
    answer = stats("--by", "dataset", "--since", "2026-05-05", "--json").json()
    assert columns(answer["datasets"], "dataset", "count") == [("photos", 1)]


def test_the_union_is_told_where_every_image_has_one(stats, lake):
    since = ("--dataset", "comics", "--since", "2026-05-04", "--json")
    assert columns(stats(*since).json()["labels"], "union_area_px") == [(None,), (None,)]
    (row,) = lake.read("label_stats").to_pylist() or [None]
    assert row is None, "to look back counts nothing new"


def test_the_tables_are_counted_as_they_were(stats, lake):
    time.sleep(0.005)
    moment = datetime.now(UTC).isoformat()
    time.sleep(0.005)
    ingest(lake, "more", [image_row("a", dataset="more")])
    by_dataset = ("--by", "dataset", "--json")
    assert len(stats(*by_dataset).json()["datasets"]) == 3
    assert len(stats(*by_dataset, "--as-of", moment).json()["datasets"]) == 2
    answer = stats("--dataset", "comics", "--as-of", moment, "--json").json()
    assert columns(answer["labels"], "label", "count") == [("panel", 2), ("unknown", 1)]
    assert stats("--dataset", "comics", "--as-of", "2020-01-01", "--json").json()["labels"] == []
    assert stats("--dataset", "comics", "--as-of", "segments=0", "--json").json()["labels"] == []


def test_where_nothing_is_counted_it_is_said_what_to_try(stats):
    answer = stats("--dataset", "none")
    assert answer.code == 0
    assert "no segments by " in answer.err and "--by dataset" in answer.err


def test_the_page_shows_the_tables_as_they_were(stats, tmp_path):
    hostile = stats("--dataset", "comics", "--as-of", "2020-01-01", "--html", "old.html")
    assert hostile.code == 0
    assert "panel" in stats("--dataset", "comics", "--html", "new.html").out
    new, old = ((tmp_path / f"{name}.html").read_text() for name in ("new", "old"))
    assert ">panel<" in new.replace(" ", "").replace("\n", "")
    assert ">panel<" not in old.replace(" ", "").replace("\n", "")


def test_labels_of_strangers_do_no_harm(stats, lake, command, tmp_path):
    ingest(lake, "drop-2", [image_row("c", dataset="strange")])
    labels = [
        "<script>alert(1)</script>",
        "\x1b[2J",
        "[red]x[/]",
        "=1+1",
        "\u202egnp",
        "x" * 10_000,
    ]
    settings = lake.read("segments").to_pylist()[0]
    ids = {name: settings[name] for name in ("model_id", "params_id", "label_set_id")}
    (choice,) = {
        row["model_id"] for row in lake.read("segments").to_pylist() if row["model_id"] != "other"
    }
    ids |= {
        name: next(
            row[name] for row in lake.read("segments").to_pylist() if row["model_id"] == choice
        )
        for name in ids
    }
    cut(lake, "strange", ["c"], [segment_row("c", label) for label in labels], **ids)
    answer = stats("--dataset", "strange", "--html", "page.html")
    assert answer.code == 0, answer.err
    assert "\x1b" not in answer.out and "\u202e" not in answer.out
    assert "\\x1b[2J" in answer.out and "[red]x[/]" in answer.out
    assert "<script>alert" not in (tmp_path / "page.html").read_text()
    rows = stats("--dataset", "strange", "--json").json()["labels"]
    assert {row["label"] for row in rows} == set(labels)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--by", "colour"], "'colour' is not one of"),
        (["--since", "soon"], "Expected a time such as"),
        (["--since", "2999-01-01"], "is past"),
        (["--as-of", "2999-01-01"], "is past"),
        (["--by", "model", "--model", "demo"], "leave the model out"),
        (["--html", "x.html", "--since", "2026-05-04"], "neither --since nor --by model"),
        (["--dataset", "../up"], "these values do not fit"),
    ],
)
def test_wrong_use_is_told_in_a_sentence(command, arguments, told):
    answer = command("stats", *arguments)
    assert answer.code == 2
    assert told in answer.err
