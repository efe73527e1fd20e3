"""Write the page that shows what a run did."""

from collections.abc import Sequence

from prefect import task
from prefect.cache_policies import NO_CACHE

from storage.lake import Lake
from storage.objects import open_store
from storage.versions import Versions
from tasks.device_use import DeviceUse
from tasks.live_model import live_model
from tasks.models import ModelChoice
from tasks.report.data import Progress, ReportData, StageTime


@task(name="write-report", cache_policy=NO_CACHE, retries=2, retry_delay_seconds=5)
def write_report(
    root: str,
    dataset: str,
    choice: ModelChoice,
    name: str,
    *,
    stages: Sequence[StageTime] = (),
    device: DeviceUse | None = None,
    next_commands: Sequence[tuple[str, str]] = (),
    progress: Progress | None = None,
) -> tuple[ReportData, str]:
    """Gather the figures of a dataset and write `reports/<name>.html`.

    Args:
        root: The data root.
        dataset: The dataset.
        choice: The models whose segments are shown.
        name: Name of the page, without its ending.
        stages: How long each stage of the run took.
        device: What the run took of its device.
        next_commands: What to try next, and the command for it.
        progress: Told after each picture.

    Returns:
        The figures, and where the page is.
    """
    from tasks.report.render import write_report_files

    data = report_data(
        root,
        dataset,
        choice,
        stages=stages,
        device=device,
        next_commands=next_commands,
        progress=progress,
    )
    return data, write_report_files(open_store(root), data, name)


def report_data(
    root: str,
    dataset: str,
    choice: ModelChoice,
    *,
    stages: Sequence[StageTime] = (),
    device: DeviceUse | None = None,
    next_commands: Sequence[tuple[str, str]] = (),
    progress: Progress | None = None,
    versions: Versions | None = None,
) -> ReportData:
    """The figures and pictures of a dataset, of these versions of tables; see `write_report`."""
    # Drawing pulls in OpenCV, which those who only deploy or plan do not need.
    from tasks.report.gather import gather_report

    return gather_report(
        Lake.open(root),
        open_store(root),
        dataset=dataset,
        model_id=choice.model_id,
        params_id=choice.params_id,
        label_set_id=choice.label_set_id,
        title=f"SegMill: {dataset}",
        stages=stages,
        device=device,
        next_commands=next_commands,
        facts=(
            ("preset", choice.preset),
            ("labels from", choice.labeller),
            ("live since", _live_since(root, choice.model_id)),
        ),
        progress=progress,
        versions=versions,
    )


def _live_since(root: str, model_id: str) -> str:
    """When and why a model became live; empty if it is not live, or always was."""
    promotion = live_model(root).promotion
    if promotion is None or promotion.model_id != model_id:
        return ""
    return f"{promotion.promoted_at:%Y-%m-%d %H:%M} UTC ({promotion.why.reason})"
