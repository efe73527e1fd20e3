"""maintain: merge the small files of the tables, delete old files and old runs' records."""

from dataclasses import asdict

from prefect import flow

from flows.events import RUN_TAG
from flows.requests import MaintainRequest
from flows.running import OnPrefect, Runner, worker_settings
from flows.summaries import MaintainSummary
from storage.errors import DamagedFileError
from storage.settings import Settings
from tasks.maintain_tables import list_tables, maintain_one
from tasks.run_history import RunHistory, delete_old_runs


def run_maintain(request: MaintainRequest, settings: Settings, run: Runner) -> MaintainSummary:
    """Maintain one table after the other."""
    tables, damaged = [], []
    with run.stage("maintain"):
        for name in run.call(list_tables, settings.root):
            done = run.call(
                maintain_one,
                name,
                root=settings.root,
                retention_hours=settings.vacuum_retention_hours,
                dry_run=request.dry_run,
            )
            if isinstance(done, DamagedFileError):
                damaged.append(str(done))
            else:
                tables.append(done)
    if tables:
        rows = [asdict(table) for table in tables]
        run.show_table("maintained-tables", rows, "What was done to each table.")
    return MaintainSummary(
        tables=tables,
        damaged=damaged,
        retention_hours=settings.vacuum_retention_hours,
        dry_run=request.dry_run,
    )


def forget_runs(request: MaintainRequest, settings: Settings, run: Runner) -> RunHistory:
    """Delete the server's records of SegMill's old runs; needs a Prefect server."""
    with run.stage("run history"):
        return run.call(
            delete_old_runs, tag=RUN_TAG, days=settings.run_history_days, dry_run=request.dry_run
        )


@flow(name="maintain", flow_run_name="maintain")
def maintain(request: MaintainRequest) -> MaintainSummary:
    """Keep the tables quick to read, and them and the history of runs no larger than needed."""
    settings, run = worker_settings(), OnPrefect()
    summary = run_maintain(request, settings, run)
    summary.runs = forget_runs(request, settings, run)
    summary.raise_for_damage()
    return summary
