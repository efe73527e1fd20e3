"""segmill verify: are the tables what was written?"""

from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Annotated

import typer

from app.options import FINDINGS, Json, Quiet, Root, plural, print_json, say, settings_for

if TYPE_CHECKING:
    from storage.verification import TableVerification

_BYTES_PER_MB = 1_000_000
_MOST_UNITS = 20  # of a table


def verify(
    table: Annotated[
        str | None, typer.Option(help="Only this table. \\[default: all]", show_default=False)
    ] = None,
    root: Root = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Read every file of the tables and compare it with its checksum; exit 1 where one differs.

    A file's name holds the sha256 of what was written, so that any flipped bit
    shows. A log that is lost is damage as well, and so is a unit of work that is
    finished, but unknown to a table it wrote to. Files that no table names are
    told, but are no damage.

    Examples:
      segmill verify

      segmill verify --table segments
    """
    from app.terminal import stage_progress
    from storage.lake import Lake
    from storage.schemas import TABLES
    from storage.table_logs import lost_units
    from storage.verification import verify_table

    lake = Lake.open(settings_for(root).root)
    if not any(lake.objects.list()):
        raise typer.BadParameter(
            f"expected tables in {lake.root}, but found none", param_hint="--root"
        )
    names = [table] if table else sorted(TABLES)
    found: list[TableVerification] = []
    with stage_progress(quiet=quiet or as_json) as progress:

        def on_file(file: str) -> None:
            progress("verify", len(found), len(names), f"{names[len(found)]}/{file}")

        for name in names:
            found.append(verify_table(lake, name, on_file))
            progress("verify", len(found), len(names))
    lost = lost_units(lake)
    found = [replace(item, lost_units=lost.get(item.table, ())) for item in found]
    if as_json:
        print_json({"tables": [asdict(item) for item in found]})
    else:
        _show(found, quiet)
    if any(item.damaged or item.lost_units for item in found):
        raise typer.Exit(FINDINGS)


def _show(found: "list[TableVerification]", quiet: bool) -> None:
    for item in found:
        for uri, reason in item.damaged.items():
            typer.echo(f"damaged: {uri}: {reason}")
        for unit_id in item.lost_units[:_MOST_UNITS]:
            typer.echo(f"lost: {item.table}: unit {unit_id} is finished, but its commit is gone")
        if more := len(item.lost_units[_MOST_UNITS:]):
            typer.echo(f"lost: {item.table}: {plural(more, 'more unit')}; --json names all")
    for item in found:
        for uri in item.without_checksum:
            say(f"without a checksum until segmill maintain: {uri}", quiet)
        for uri in item.strays:
            say(f"in no version of {item.table}, deleted by segmill maintain later: {uri}", quiet)
    files = sum(item.files for item in found)
    megabytes = sum(item.size_bytes for item in found) / _BYTES_PER_MB
    damaged = sum(len(item.damaged) for item in found)
    lost = sum(len(item.lost_units) for item in found)
    say(
        f"{plural(files, 'file')} of {plural(sum(item.files > 0 for item in found), 'table')} "
        f"read, {megabytes:.1f} MB: {plural(damaged, 'file') if damaged else 'none'} damaged"
        + (f", {plural(lost, 'commit')} lost" if lost else ""),
        quiet,
    )
