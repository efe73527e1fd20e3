"""How the steps of a flow are run: as Prefect tasks, or plainly in this process.

The steps of a flow are written once, in its `run_*` function, which takes a `Runner`. The `@flow`
functions pass `OnPrefect`; the command line passes `InProcess`, which needs no server.
"""

import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from queue import SimpleQueue
from typing import Any, ParamSpec, TypeVar
from uuid import uuid4

from prefect import Task
from prefect.futures import PrefectFuture, as_completed, wait
from prefect.runtime import flow_run
from pydantic import ValidationError

from flows.engines import task_resources, tasks_at_once
from flows.run_page import ProgressBar, WatchedStep, say_ended, show_table
from storage.settings import Settings, get_settings
from tasks.report.data import Progress, StageTime

P = ParamSpec("P")
R = TypeVar("R")

MayBegin = Callable[[Sequence[R], Sequence[Any]], bool]
"""Whether another item may begin, given the results so far and the items at work."""


class RelativeRootError(ValueError):
    """A worker's data root is a relative path, and workers run in temporary folders.

    Attributes:
        root: The path.
    """

    def __init__(self, root: str) -> None:
        self.root = root
        super().__init__(
            f"SEGMILL_ROOT of a worker must be an absolute path or s3://bucket/prefix, not {root!r}"
        )


class SettingsRefusedError(ValueError):
    """Settings of a worker that cannot be used; none of their values is in it."""


def worker_settings() -> Settings:
    """The settings of the machine that runs a deployment.

    Raises:
        RelativeRootError: If what is written there would be lost with the run's folder.
        SettingsRefusedError: If one of them cannot be used.
    """
    try:
        settings = get_settings()
    except ValidationError as error:
        # Prefect keeps the errors of failed runs, and pydantic's hold what was given: a password.
        told = [
            f"SEGMILL_{'.'.join(map(str, item['loc'])).upper()}: {item['msg']}"
            for item in error.errors(include_url=False, include_input=False, include_context=False)
        ]
        raise SettingsRefusedError("; ".join(told)) from None
    if "://" not in settings.root and not Path(settings.root).is_absolute():
        raise RelativeRootError(settings.root)
    return settings


class Runner(ABC):
    """Runs the steps of a flow and remembers how long its stages took.

    Attributes:
        run_id: The id of the run, recorded on each row it writes.
        progress: Told how far a stage is; None where nobody looks.
        stages: The finished stages, in order.
    """

    def __init__(self, run_id: str, progress: Progress | None = None) -> None:
        self.run_id = run_id
        self.progress = progress
        self.stages: list[StageTime] = []
        self._stage = ""

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time what is run inside; its progress is shown under this name."""
        self._stage = name
        started = time.perf_counter()
        yield
        self.stages.append(StageTime(name, time.perf_counter() - started))

    @abstractmethod
    def call(self, step: Task[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run one step and return its result."""

    @abstractmethod
    def each(
        self,
        step: Task[Any, R],
        items: Iterable[Any],
        /,
        may_begin: MayBegin[R] | None = None,
        **shared: Any,
    ) -> list[R]:
        """Run a step for each item in order, `shared` being the same for all.

        Args:
            step: The step.
            items: What it is run for.
            may_begin: Asked before each item, with the results so far and the items at work. If it
                says no, and no item is at work any more, the other items are left.
            **shared: Further arguments of the step.

        Returns:
            The results of the items that were begun, in their order.
        """

    @abstractmethod
    def show_table(self, name: str, rows: list[dict[str, Any]], about: str) -> None:
        """Show a table to whoever looks at the run.

        Args:
            name: Lowercase letters, digits and dashes.
            rows: All with the same keys.
            about: What is shown, in a sentence.
        """

    @contextmanager
    def watched(self) -> Iterator[Progress | None]:
        """What a single long step may tell how far it is, so that whoever looks sees it."""
        yield self.progress

    def counter(self, total: int) -> Callable[[str], None] | None:
        """What a step may call after each of `total` things, naming it; None if nobody looks."""
        progress, stage, done = self.progress, self._stage, count(1)
        if progress is None or total == 0:
            return None
        progress(stage, 0, total)
        return lambda detail: progress(stage, next(done), total, detail)


class InProcess(Runner):
    """Runs the steps here, one after the other: no server, no retries, no task states."""

    def __init__(self, progress: Progress | None = None) -> None:
        super().__init__(str(uuid4()), progress)

    def call(self, step: Task[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run one step and return its result."""
        return step.fn(*args, **kwargs)

    def each(
        self,
        step: Task[Any, R],
        items: Iterable[Any],
        /,
        may_begin: MayBegin[R] | None = None,
        **shared: Any,
    ) -> list[R]:
        """Run a step for each item, one after the other."""
        results: list[R] = []
        for item in items:
            if may_begin is not None and not may_begin(results, ()):
                break
            results.append(step.fn(item, **shared))
        return results

    def show_table(self, name: str, rows: list[dict[str, Any]], about: str) -> None:
        """Do nothing: nobody looks."""


class OnPrefect(Runner):
    """Runs the steps as tasks of the present flow run, with their states, logs and retries."""

    def __init__(self) -> None:
        super().__init__(str(flow_run.id))

    def call(self, step: Task[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run one task and return its result."""
        return step(*args, **kwargs)

    def each(
        self,
        step: Task[Any, R],
        items: Iterable[Any],
        /,
        may_begin: MayBegin[R] | None = None,
        **shared: Any,
    ) -> list[R]:
        """Submit a task for each item to the flow's task runner and wait for all of them.

        With `may_begin`, no more are submitted than the engine does at once. How many have ended
        is shown as an artifact of the run.

        Raises:
            Exception: What a failing task raised, after the others have ended.
        """
        if may_begin is not None:
            return self._each_that_may(step, list(items), may_begin, shared)
        with task_resources(get_settings()):
            futures = [step.submit(item, **shared) for item in items]
        with self._progress(len(futures)) as ended:
            for future in as_completed(futures):
                ended(future)
        wait(futures)
        return [future.result() for future in futures]

    def _each_that_may(
        self,
        step: Task[Any, R],
        items: list[Any],
        may_begin: MayBegin[R],
        shared: dict[str, Any],
    ) -> list[R]:
        settings = get_settings()
        waiting = deque(items)
        begun: list[PrefectFuture[R]] = []
        at_work: dict[PrefectFuture[R], Any] = {}
        # Told by each future once: to wait for the first of many anew takes longer with each.
        ended_ones: SimpleQueue[PrefectFuture[R]] = SimpleQueue()
        results: list[R] = []
        with task_resources(settings), self._progress(len(items)) as ended:
            while waiting or at_work:
                while (
                    waiting
                    and len(at_work) < tasks_at_once(settings)
                    and may_begin(results, list(at_work.values()))
                ):
                    item = waiting.popleft()
                    future = step.submit(item, **shared)
                    begun.append(future)
                    at_work[future] = item
                    future.add_done_callback(ended_ones.put)
                if not at_work:
                    break
                future = ended_ones.get()
                del at_work[future]
                ended(future)
                with suppress(Exception):  # raised below, after the others have ended
                    results.append(future.result())
        return [future.result() for future in begun]

    @contextmanager
    def watched(self) -> Iterator[Progress]:
        """A bar on the page of the run, and a line a minute in its log."""
        yield WatchedStep()

    def show_table(self, name: str, rows: list[dict[str, Any]], about: str) -> None:
        """Store a table as an artifact of the run, if the server takes it."""
        show_table(name, rows, about)

    @contextmanager
    def _progress(self, total: int) -> Iterator[Callable[[PrefectFuture[Any]], None]]:
        """Show how many of some batches have ended; yields what to call with each of them."""
        done = count(1)
        bar = ProgressBar(f"{self._stage}: {total} batches") if total > 1 else None

        def ended(future: PrefectFuture[Any]) -> None:
            number = next(done)
            with suppress(Exception):  # raised when all have ended
                say_ended(self._stage, number, total, future.result())
            if bar is not None:
                bar.show(number, total)

        yield ended
