"""What a run shows on its page on the server: how far it is, tables, lines of its log."""

import time
from dataclasses import fields, is_dataclass
from typing import Any, cast
from uuid import UUID

from prefect import get_run_logger
from prefect.artifacts import (
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)

from flows.best_effort import best_effort

_LINE_EVERY_SECONDS = 60.0


class ProgressBar:
    """An artifact of the present run that says how far something is, in whole per cent."""

    def __init__(self, about: str) -> None:
        """Create it, if the server takes it.

        Args:
            about: What is done, in a few words.
        """
        self._artifact: UUID | None = None
        self._shown = 0
        with best_effort("show the progress"):
            self._artifact = cast("UUID", create_progress_artifact(0.0, description=about))

    def show(self, done: int, total: int) -> None:
        """Show that so much of a total is done."""
        percent = min(100, 100 * done // total)
        # Each is a request to the server, which thousands of batches need not make.
        if self._artifact is None or percent <= self._shown:
            return
        self._shown = percent
        with best_effort("show the progress"):
            update_progress_artifact(self._artifact, float(percent))
            return
        self._artifact = None  # each further try would wait for the server, and the work with it


class WatchedStep:
    """The `tasks.report.data.Progress` of a long step: a bar, and a line a minute in the log."""

    def __init__(self) -> None:
        self._logger = get_run_logger()
        self._bars: dict[str, ProgressBar] = {}
        self._said: dict[str, float] = {}

    def __call__(self, stage: str, done: int, total: int | None, detail: str = "") -> None:
        """Show that so much of a stage is done."""
        now = time.monotonic()
        first, last = stage not in self._said, done == total
        if first or last or now - self._said[stage] >= _LINE_EVERY_SECONDS:
            self._said[stage] = now
            of = f" of {total}" if total else ""
            self._logger.info("%s: %d%s%s", stage, done, of, f", {detail}" if detail else "")
        if total:
            if stage not in self._bars:
                self._bars[stage] = ProgressBar(stage)
            self._bars[stage].show(done, total)


def show_table(name: str, rows: list[dict[str, Any]], about: str) -> None:
    """Store a table as an artifact of the run, if the server takes it."""
    with best_effort(f"show the table {name}"):
        create_table_artifact(rows, key=name, description=about)


def say_ended(stage: str, number: int, total: int, result: object) -> None:
    """Write a line to the log of the run about one of its batches, as `name=value`.

    Args:
        stage: What is done.
        number: How many have ended.
        total: Of so many.
        result: What the batch gave; only of dataclasses more than its number is told.
    """
    told = ""
    if is_dataclass(result):
        values = ((field.name, getattr(result, field.name)) for field in fields(result))
        told = " ".join(f"{name}={_short(value)}" for name, value in values)
    get_run_logger().info("%s: %d of %d ended: %s", stage, number, total, told)


def _short(value: object) -> str:
    return f"{value:.2f}" if isinstance(value, float) else str(value).replace(" ", "_") or "-"
