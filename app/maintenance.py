"""segmill maintain: keep the tables quick to read and no larger than they must be."""

from typing import TYPE_CHECKING

from app.options import (
    DryRun,
    Json,
    Quiet,
    Root,
    answer_console,
    plural,
    print_json,
    say,
    settings_for,
)

if TYPE_CHECKING:
    from flows.summaries import MaintainSummary

_BYTES_PER_MB = 1_000_000


def maintain(
    root: Root = None, as_json: Json = False, quiet: Quiet = False, dry_run: DryRun = False
) -> None:
    """Merge the small files of the tables, delete files no table needs, checkpoint the logs.

    Runs beside other commands. Files of older versions stay for a week
    (SEGMILL_VACUUM_RETENTION_HOURS); a version whose files are deleted can no
    longer be asked for.

    Examples:
      segmill maintain --dry-run

      segmill maintain --root s3://bucket/prefix
    """
    from flows.maintain import run_maintain
    from flows.requests import MaintainRequest
    from flows.running import InProcess

    settings = settings_for(root)
    summary = run_maintain(MaintainRequest(dry_run=dry_run), settings, InProcess())
    if as_json:
        print_json(summary.model_dump(mode="json"))
    elif not quiet:
        _show(summary)
    summary.raise_for_damage()


def _show(summary: "MaintainSummary") -> None:
    from app.terminal import print_table

    if not summary.tables:
        if not summary.damaged:
            say("no table was ever written")
        return
    columns = ("table", "files", "then", "MB", "then MB", "merged", "vacuumed")
    rows = [
        [
            table.table,
            table.files_before,
            table.files_after,
            round(table.bytes_before / _BYTES_PER_MB, 3),
            round(table.bytes_after / _BYTES_PER_MB, 3),
            table.merged,
            table.vacuumed,
        ]
        for table in summary.tables
    ]
    print_table(columns, rows, answer_console())
    if summary.dry_run:
        say("nothing was changed")
    if late := [table.table for table in summary.tables if table.postponed]:
        say(f"left for the next time, because others were writing: {', '.join(late)}")
    kept = plural(summary.retention_hours, "hour")
    say(f"replaced files are deleted {kept} after their replacement")
