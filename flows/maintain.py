"""maintain: merge the small files of the tables, delete old files, checkpoint the logs."""

from dataclasses import asdict

from prefect import flow

from flows.requests import MaintainRequest
from flows.running import OnPrefect, Runner, worker_settings
from flows.summaries import MaintainSummary
from storage.errors import DamagedFileError
from storage.settings import Settings
from tasks.maintain_tables import list_tables, maintain_one


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


@flow(name="maintain", flow_run_name="maintain")
def maintain(request: MaintainRequest) -> MaintainSummary:
    """Keep the tables quick to read and no larger than they must be."""
    summary = run_maintain(request, worker_settings(), OnPrefect())
    summary.raise_for_damage()
    return summary
