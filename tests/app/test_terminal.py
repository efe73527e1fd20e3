from datetime import UTC, datetime
from io import StringIO

import pytest
from rich.console import Console

from app.terminal import print_summary, print_table, stage_progress
from tasks.device_use import DeviceUse
from tasks.report.data import LabelRow, QuarantineRow, ReportData, StageTime, Totals

LONG_URI = "s3://bucket/" + "long-prefix/" * 20 + "reports/nightly.html"
COMMAND = "segmill sql 'SELECT label, count(*) FROM segments GROUP BY label' --root " + "x" * 90


def console(terminal=False, width=80):
    return Console(file=StringIO(), width=width, force_terminal=terminal, color_system=None)


def summary(**changes):
    values = {
        "title": "Nightly",
        "dataset": "comics",
        "created_at": datetime(2026, 5, 4, tzinfo=UTC),
        "totals": Totals(23, 431, 1665, 4, 2),
        "labels": (
            LabelRow("bubble", 100, 20, 1e6, 1e4, 9e3, 0.9),
            LabelRow("[red]odd[/red]", 25, 9, 1e5, 4e3, 3e3, None),
        ),
        "quarantine": (
            QuarantineRow("a[1].json", "/annotations/3", "polygon.odd", "[1]", "ingest"),
        ),
        "stages": (StageTime("ingest", 2.0, "24 images"), StageTime("segment", 40.0)),
        "next_commands": (("count with SQL", COMMAND),),
    }
    return ReportData(**(values | changes))


def printed(data, **options):
    target = console()
    print_summary(data, console=target, **options)
    return target.file.getvalue()


def test_the_summary_says_what_the_device_took_and_what_waits():
    use = DeviceUse({"cpu": 40.0}, 1200, "the budget of 30 s is spent", 30.0, 0.25)
    text = printed(summary(device=use))
    assert "40 s on cpu, 0.2500 USD" in text
    assert "1,200 images: the budget of 30 s is spent" in text
    assert "Device" not in printed(summary(device=DeviceUse()))
    assert "Device" not in printed(summary())


def test_the_summary_has_every_number_and_reason():
    text = printed(summary())
    for part in ("1,665", "431", "quarantined", "polygon.odd", "/annotations/3", "42.0 s"):
        assert part in text


def test_bars_are_as_long_as_their_counts():
    lines = printed(summary()).splitlines()
    long, short = (next(line for line in lines if name in line) for name in ("bubble", "odd[/red]"))
    assert long.count("█") == 4 * short.count("█") == 24


def test_names_with_brackets_are_printed_as_they_are():
    text = printed(summary())
    assert "[red]odd[/red]" in text and "a[1].json" in text


def test_commands_and_uris_can_be_copied_in_one_piece():
    text = printed(summary(), report_uri=LONG_URI)
    assert COMMAND in text and LONG_URI in text


def test_an_empty_run_prints_its_zeros():
    text = printed(
        summary(totals=Totals(0, 0, 0, 0, 0), labels=(), quarantine=(), stages=(), next_commands=())
    )
    assert "pages" in text and "Labels" not in text


def test_quarantine_rows_left_out_are_counted():
    rows = tuple(QuarantineRow(f"f{n}", "", "rule", "", "ingest") for n in range(20))
    assert "and 30 more" in printed(summary(quarantine=rows, totals=Totals(1, 1, 1, 1, 42)))


def test_stages_of_no_time_at_all_are_printed():
    assert "0.0 s" in printed(summary(stages=(StageTime("sweep", 0.0),)))


def test_without_a_terminal_each_stage_is_one_line():
    target = console()
    with stage_progress(console=target) as progress:
        for done in range(4):
            progress("segment", done, 3, "page[1].png")
        progress("stats", 0, None)
    (line,) = target.file.getvalue().splitlines()
    assert line.startswith("segment: 3 done in ")


def test_without_a_terminal_the_stages_of_each_drop_are_told():
    target = console()
    with stage_progress(console=target) as progress:
        for files in (1, 3, 1):
            for stage in ("seal", "images"):
                for done in range(files):
                    progress(stage, done + 1, files)
        progress("masks", 1, 3)
        progress("masks", 0, 1)
        progress("masks", 1, 1)
    said = [line.partition(" done")[0] for line in target.file.getvalue().splitlines()]
    drops = [f"{stage}: {files}" for files in (1, 3, 1) for stage in ("seal", "images")]
    assert said == [*drops, "masks: 1"]


@pytest.mark.parametrize(
    ("total", "seconds_each", "lines"), [(1000, 0.5, 11), (4, 60, 4), (1000, 0.001, 1)]
)
def test_without_a_terminal_a_long_stage_has_a_line_for_each_tenth(
    monkeypatch, total, seconds_each, lines
):
    clock = [100.0]
    monkeypatch.setattr("app.terminal.time.monotonic", lambda: clock[0])
    target = console()
    with stage_progress(console=target) as progress:
        for done in range(total + 1):
            progress("segment", done, total, "page.png")
            clock[0] += seconds_each
    said = target.file.getvalue().splitlines()
    assert len(said) == lines
    assert said[-1] == f"segment: {total} done in {total * seconds_each:.1f} s"
    if total == 4:
        assert said[0] == "segment: 20 %, 1 of 4 in 60.0 s"
    elif lines > 1:
        assert said[:2] == [
            "segment: 0 %, 4 of 1000 in 2.0 s",
            "segment: 10 %, 100 of 1000 in 50.0 s",
        ]


def test_on_a_terminal_each_stage_has_a_bar():
    target = console(terminal=True, width=120)
    with stage_progress(console=target) as progress:
        progress("ingest", 0, 2, "page[bold].png")
        progress("ingest", 2, 2)
        progress("segment", 1, 5, "[/x]")
    text = target.file.getvalue()
    assert "2/2" in text and "1/5" in text


def test_quiet_shows_nothing():
    target = console(terminal=True)
    with stage_progress(quiet=True, console=target) as progress:
        progress("ingest", 1, 1)
    assert target.file.getvalue() == ""


@pytest.mark.parametrize("value", ["[b]text[/b]", 1234567, True])
def test_tables_show_values_as_they_are(value):
    target = console()
    print_table(["a[b]", "n"], [[value, None]], console=target)
    text = target.file.getvalue()
    assert str(value) in text and "a[b]" in text and "null" in text


def test_tables_keep_the_digits_of_numbers():
    target = console()
    print_table(["x"], [[0.123456], [1234.5678], [12345678.9]], console=target)
    assert all(text in target.file.getvalue() for text in ("0.123456", "1234.57", "12345678.9"))
