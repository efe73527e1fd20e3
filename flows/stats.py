"""stats: committed segments become one row a label."""

from prefect import flow

from flows.requests import StatsRequest
from flows.running import OnPrefect, Runner, worker_settings
from storage.settings import Settings
from tasks.label_stats import StatsSummary, count_labels
from tasks.models import ModelChoice, choose_models


def run_stats(dataset: str, choice: ModelChoice, settings: Settings, run: Runner) -> StatsSummary:
    """Count what these models found in the dataset."""
    with run.stage("stats"):
        return run.call(count_labels, settings.root, dataset, choice, run.run_id)


@flow(name="stats", flow_run_name="stats-{request.dataset}")
def stats(request: StatsRequest) -> StatsSummary:
    """Compute the label statistics of a dataset, if there is anything new to count."""
    settings, run = worker_settings(), OnPrefect()
    choice = run.call(choose_models, **request.models(settings))
    return run_stats(request.dataset, choice, settings, run)
