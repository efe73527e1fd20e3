"""Where a flow's tasks run: threads of the worker, or a Ray or Dask cluster (`SEGMILL_ENGINE`)."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from prefect.context import FlowRunContext
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner

from storage.settings import Settings, get_settings

# One is read and stored while another is computed. Each holds the pixels of its next images.
_BATCHES_AT_ONCE = 2


class EngineMissingError(ImportError):
    """The package that connects Prefect to the engine is not installed.

    Attributes:
        engine: The engine.
    """

    def __init__(self, engine: str) -> None:
        self.engine = engine
        super().__init__(
            f"SEGMILL_ENGINE={engine} needs the package prefect-{engine}: "
            f"pip install 'segmill[{engine}]' on this machine and on the cluster"
        )


def task_runner() -> TaskRunner[Any]:
    """The task runner of the machine's settings.

    Raises:
        EngineMissingError: If its package is not installed.
    """
    settings = get_settings()
    address = settings.engine_address
    try:
        if settings.engine == "ray":
            from prefect_ray import RayTaskRunner

            runner: TaskRunner[Any] = RayTaskRunner(address=address)
            return runner
        if settings.engine == "dask":
            from prefect_dask.task_runners import DaskTaskRunner

            return DaskTaskRunner(address=address)
    except ImportError as error:
        raise EngineMissingError(settings.engine) from error
    return ThreadPoolTaskRunner(max_workers=_BATCHES_AT_ONCE)


def tasks_at_once(settings: Settings) -> int:
    """How many tasks the present flow run's engine does at once, as large as a cluster is now."""
    if settings.engine == "ray":
        import ray

        has: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
        most = has.get("CPU", 0.0)
        if settings.gpus_per_task:
            most = min(most, has.get("GPU", 0.0) / settings.gpus_per_task)
        return max(1, int(most))
    if settings.engine == "dask":
        context = FlowRunContext.get()
        assert context is not None
        # By its name and not its class, which would have to be imported.
        client: Any = getattr(context.task_runner, "client")  # noqa: B009
        threads: dict[str, int] = client.nthreads()
        return max(1, sum(threads.values()))
    return _BATCHES_AT_ONCE


@contextmanager
def task_resources(settings: Settings) -> Iterator[None]:
    """Ask the cluster for `gpus_per_task` for each task that is submitted inside.

    A Dask worker must say what it has: `dask worker ... --resources GPU=1`.
    """
    if settings.engine == "ray":
        from prefect_ray.context import remote_options

        # Left alone, Ray ends the process of a task with a GPU, and its loaded models.
        with remote_options(num_gpus=settings.gpus_per_task, max_calls=0):
            yield
    elif settings.engine == "dask" and settings.gpus_per_task:
        from dask.base import annotate

        with annotate(resources={"GPU": settings.gpus_per_task}):
            yield
    else:
        yield
