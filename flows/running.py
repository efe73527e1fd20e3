"""How the steps of a flow are run: as Prefect tasks, or plainly in this process.

The steps of a flow are written once, in its `run_*` function, which takes a `Runner`. The `@flow`
functions pass `OnPrefect`; the command line passes `InProcess`, which needs no server.
"""

import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from prefect import Task
from prefect.futures import wait
from prefect.runtime import flow_run

from storage.settings import Settings, get_settings
from tasks.report.data import Progress, StageTime

P = ParamSpec("P")
R = TypeVar("R")


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


def worker_settings() -> Settings:
    """The settings of the machine that runs a deployment.

    Raises:
        RelativeRootError: If what is written there would be lost with the run's folder.
    """
    settings = get_settings()
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
    def each(self, step: Task[Any, R], items: Iterable[Any], /, **shared: Any) -> list[R]:
        """Run a step for each item, `shared` being the same for all; results in their order."""

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
        super().__init__(str(uuid.uuid4()), progress)

    def call(self, step: Task[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run one step and return its result."""
        return step.fn(*args, **kwargs)

    def each(self, step: Task[Any, R], items: Iterable[Any], /, **shared: Any) -> list[R]:
        """Run a step for each item, in order."""
        return [step.fn(item, **shared) for item in items]


class OnPrefect(Runner):
    """Runs the steps as tasks of the present flow run, with their states, logs and retries."""

    def __init__(self) -> None:
        super().__init__(str(flow_run.id))

    def call(self, step: Task[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run one task and return its result."""
        return step(*args, **kwargs)

    def each(self, step: Task[Any, R], items: Iterable[Any], /, **shared: Any) -> list[R]:
        """Submit a task for each item to the flow's task runner and wait for all of them.

        Raises:
            Exception: What a failing task raised, after the others have ended.
        """
        futures = [step.submit(item, **shared) for item in items]
        wait(futures)
        return [future.result() for future in futures]
