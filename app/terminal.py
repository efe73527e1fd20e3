"""What a person sees in the terminal: progress bars and the summary of a run."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from rich import box
from rich.columns import Columns
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.panel import Panel
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.progress import Progress as Bars
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from app.bars import bar
from app.cells import cell
from tasks.report.data import Progress, ReportData
from vision.coco import Finding
from vision.draw.colors import hex_color, label_colors

_MOST_QUARANTINE_ROWS = 12
_FINDING_COLUMNS = ("file", "pointer", "rule", "value", "expected")
_FINDINGS_OF_A_RULE = 3
# Stages that are over sooner say nothing before their end: a drop has three of them.
_QUIET_SECONDS = 2.0


@contextmanager
def stage_progress(quiet: bool = False, console: Console | None = None) -> Iterator[Progress]:
    """Show a bar per stage on stderr while the block runs.

    Where stderr is no terminal, a stage is one line, written when it is over, and a line for each
    tenth of it if it takes longer than a few seconds.

    Args:
        quiet: show nothing.
        console: where to show it instead.

    Yields:
        A callback to pass to the work.
    """
    target = console or Console(stderr=True)
    if quiet:
        yield _ignore
    elif not target.is_terminal:
        yield _line_per_stage(target)
    else:
        bars = Bars(
            SpinnerColumn(finished_text="[green]✓"),
            TextColumn("[bold]{task.description}"),
            BarColumn(bar_width=28, complete_style="cyan", finished_style="green"),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("[dim]{task.fields[detail]}"),
            console=target,
        )
        with bars:
            yield _bar_per_stage(bars)


def print_summary(
    data: ReportData, *, report_uri: str | None = None, console: Console | None = None
) -> None:
    """Print what a run did: its numbers, labels, what was set aside, and what to try next.

    Args:
        data: the figures; pictures are not needed.
        report_uri: of the HTML report, if one was written.
        console: where to print; stdout by default.
    """
    parts: list[RenderableType] = [_tiles(data)]
    if data.labels:
        parts += [_heading("Labels"), _labels(data)]
    if data.quarantine:
        parts += [_heading("Quarantine"), _quarantine(data)]
    if data.stages:
        parts += [_heading("Time"), _stages(data)]
    if data.device and data.device.told():
        parts += [_heading("Device"), _pairs(data.device.told())]
    target = console or Console()
    target.print(Group(Text(), *parts))
    # What people copy must come without line breaks of ours, however long it is: soft_wrap.
    if data.next_commands:
        target.print(_heading("Try next"))
        for what, command in data.next_commands:
            target.print(Text(f"  {what}", style="dim"))
            target.print(Text(f"    {command}", style="green"), soft_wrap=True)
    if report_uri is not None:
        target.print(_heading("Report"))
        target.print(Text(f"  {report_uri}", style="cyan"), soft_wrap=True)
    target.print()


def print_table(
    columns: Sequence[str], rows: Sequence[Sequence[Any]], console: Console | None = None
) -> None:
    """Print rows under their column names, numbers to the right.

    Args:
        columns: names.
        rows: values, one per column; None is shown as a dim `null`.
        console: where to print; stdout by default.
    """
    table = Table(box=box.SIMPLE_HEAD, header_style="bold", pad_edge=False)
    for index, name in enumerate(columns):
        numeric = any(isinstance(row[index], int | float) for row in rows)
        heading = cell(name)
        table.add_column(heading, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*(cell(value) for value in row))
    (console or Console()).print(table)


def _ignore(stage: str, done: int, total: int | None, detail: str = "") -> None:
    pass


def _bar_per_stage(bars: Bars) -> Progress:
    known: dict[str, TaskID] = {}

    def report(stage: str, done: int, total: int | None, detail: str = "") -> None:
        if stage not in known:
            known[stage] = bars.add_task(stage, total=total, detail="")
        # Details come from data: brackets in a file name are no markup.
        shown = "" if done == total else detail[:40].replace("[", r"\[")
        bars.update(known[stage], completed=done, total=total, detail=shown)

    return report


@dataclass
class _Running:
    """A stage that is not over: when it began, in s, and what was last said of it."""

    began: float
    said_at: float
    said_tenth: int = -1
    done: int = 0


def _line_per_stage(console: Console) -> Progress:
    running: dict[str, _Running] = {}

    def report(stage: str, done: int, total: int | None, detail: str = "") -> None:
        now = time.monotonic()
        if stage not in running or done < running[stage].done:
            running[stage] = _Running(now, now)
        state = running[stage]
        state.done = done
        if total is None:
            return
        if done >= total:
            # Forgotten, because the next drop begins a stage of the same name.
            del running[stage]
            text = f"{stage}: {done} done in {now - state.began:.1f} s"
        else:
            tenth = done * 10 // total
            if tenth <= state.said_tenth or now - state.said_at < _QUIET_SECONDS:
                return
            state.said_tenth, state.said_at = tenth, now
            text = f"{stage}: {tenth * 10} %, {done} of {total} in {now - state.began:.1f} s"
        console.print(Text(text), soft_wrap=True)

    return report


def _heading(text: str) -> RenderableType:
    return Padding(Rule(Text(text, style="bold"), align="left", style="dim"), (1, 0, 0, 0))


def _tiles(data: ReportData) -> RenderableType:
    totals = data.totals
    tiles = []
    for name, value, style in (
        ("pages", totals.pages, "cyan"),
        ("masks", totals.masks, "cyan"),
        ("segments", totals.segments, "cyan"),
        ("labels", totals.labels, "cyan"),
        ("quarantined", totals.quarantined, "yellow" if totals.quarantined else "green"),
    ):
        text = Text(f"{value:,}\n", style=f"bold {style}", justify="center")
        text.append(name, style="dim")
        tiles.append(Panel(text, box=box.ROUNDED, border_style=style, width=15))
    return Columns(tiles, padding=(0, 1))


def _labels(data: ReportData) -> Table:
    colors = label_colors(row.label for row in data.labels)
    largest = max(row.count for row in data.labels)
    table = Table(box=None, pad_edge=True, header_style="dim", padding=(0, 1))
    table.add_column("label", overflow="ellipsis", max_width=24)
    table.add_column("", no_wrap=True)
    for name in ("segments", "images", "mean px", "score"):
        table.add_column(name, justify="right")
    for row in data.labels:
        color = hex_color(colors[row.label])
        label = cell(row.label)
        label.stylize("bold")
        table.add_row(
            label,
            Text(bar(row.count / largest), style=color),
            f"{row.count:,}",
            f"{row.images:,}",
            f"{row.mean_area_px:,.0f}",
            "-" if row.mean_score is None else f"{row.mean_score:.2f}",
        )
    return table


def _quarantine(data: ReportData) -> RenderableType:
    table = Table(box=None, pad_edge=True, header_style="dim", padding=(0, 1))
    table.add_column("file", overflow="fold")
    table.add_column("where", overflow="fold")
    table.add_column("rule", style="yellow", overflow="fold")
    table.add_column("value", style="dim", overflow="ellipsis", max_width=32, no_wrap=True)
    for row in data.quarantine[:_MOST_QUARANTINE_ROWS]:
        where = Text(row.pointer) if row.pointer else Text("whole file", style="dim")
        table.add_row(Text(row.file), where, Text(row.rule), Text(row.value))
    hidden = data.totals.quarantined - len(data.quarantine[:_MOST_QUARANTINE_ROWS])
    if hidden <= 0:
        return table
    return Group(table, Text(f"  and {hidden:,} more, all in the quarantine table", style="dim"))


def _stages(data: ReportData) -> Table:
    longest = max(stage.seconds for stage in data.stages) or 1.0
    table = Table(box=None, pad_edge=True, show_header=False, padding=(0, 1))
    table.add_column(style="bold")
    table.add_column(style="blue", no_wrap=True)
    table.add_column(justify="right")
    table.add_column(style="dim", overflow="fold")
    for stage in data.stages:
        drawn = bar(stage.seconds / longest)
        table.add_row(Text(stage.stage), drawn, f"{stage.seconds:.1f} s", Text(stage.detail))
    total = sum(stage.seconds for stage in data.stages)
    table.add_row("together", "", Text(f"{total:.1f} s", style="bold"), "")
    return table


def _pairs(told: Sequence[tuple[str, str]]) -> Table:
    table = Table(box=None, pad_edge=True, show_header=False, padding=(0, 1))
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for heading, line in told:
        table.add_row(Text(heading), Text(line))
    return table


def print_findings(found: Sequence[Finding], console: Console, every: bool = False) -> None:
    """Print a table of findings, of each rule the first few or all."""
    print_table(_FINDING_COLUMNS, _rows(found, None if every else _FINDINGS_OF_A_RULE), console)


def _rows(found: Sequence[Finding], at_most: int | None) -> list[list[str]]:
    """One row a finding; of each rule not more than `at_most`, and how many are left out."""
    by_rule: dict[str, list[Finding]] = {}
    for item in found:
        by_rule.setdefault(item.rule, []).append(item)
    rows = []
    for rule, items in by_rule.items():
        rows += [[getattr(item, name) for name in _FINDING_COLUMNS] for item in items[:at_most]]
        if left := len(items[at_most:]) if at_most else 0:
            rows.append(["", f"and {left:,} more", rule, "", "see --all"])
    return rows
