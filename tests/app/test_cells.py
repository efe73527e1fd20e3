import io

import pytest
from rich.console import Console

from app.bars import bar, print_bars
from app.cells import LONGEST, cell


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("a\x1b[2Jb", "a\\x1b[2Jb"),
        ("a\rb\x07\x9b", "a\\rb\\x07\\x9b"),
        ("a\u202eb\u2066\ufeff", "a\\u202eb\\u2066\\ufeff"),
        ("two\nlines", "two\nlines"),
        ("\u05d0\u05d1 größer 漢字 🙂", "\u05d0\u05d1 größer 漢字 🙂"),
        ("[red]x[/]", "[red]x[/]"),
        (None, "null"),
        (b"\xff=", "\\xff="),
        ("x" * LONGEST, "x" * LONGEST),
        ("x" * 2 * LONGEST, "x" * LONGEST + f"… ({2 * LONGEST:,} characters)"),
    ],
)
def test_a_cell_shows_text_and_obeys_none(value, shown):
    assert cell(value).plain == shown


def test_bars_have_steps_of_an_eighth_and_show_the_least():
    assert [len(bar(share)) for share in (0, 0.001, 0.5, 1)] == [0, 1, 12, 24]


@pytest.mark.parametrize("rows", [[], [{"label": "a", "count": 0}]])
def test_nothing_to_draw_is_drawn_as_nothing(rows):
    console = Console(file=io.StringIO(), width=80)
    print_bars(rows, ("label", "count"), "count", color=lambda row: "blue", console=console)
    assert "█" not in console.file.getvalue()
