"""segmill curate: accept segments by rules, and see whether training has become worthwhile."""

from typing import TYPE_CHECKING, Annotated

import typer

from app.options import (
    Dataset,
    DryRun,
    Json,
    Labels,
    Quiet,
    Root,
    plural,
    print_json,
    say,
    settings_for,
)

if TYPE_CHECKING:
    from flows.summaries import CurateSummary
    from tasks.apply_rules import RulesSummary


def curate(
    rules: Annotated[
        str | None,
        typer.Option(
            help="Rules: a name in configs/, or a YAML file. \\[default: $SEGMILL_CURATION_RULES]",
            show_default=False,
        ),
    ] = None,
    dataset: Dataset = "default",
    labels: Labels = None,
    root: Root = None,
    as_json: Json = False,
    quiet: Quiet = False,
    dry_run: DryRun = False,
) -> None:
    """Accept the segments that fit rules, and count the new curated masks.

    What people decide counts before rules, whichever came first. Other rules decide
    anew what rules decided. Without rules it only counts. Where a Prefect server is
    known (PREFECT_API_URL), it is told curation.ready if there are enough new masks.

    Examples:
      segmill curate --rules curation --dry-run

      segmill curate --rules mine.yaml --dataset street --labels street
    """
    from flows.curate import run_curate, wanted_rules
    from flows.requests import CurateRequest
    from flows.running import InProcess

    settings, run = settings_for(root), InProcess()
    request = CurateRequest(dataset=dataset, rules=rules, labels=labels)
    chosen = wanted_rules(request, settings, run)
    summary = run_curate(dataset, chosen, settings, run, dry_run=dry_run)
    said = "" if dry_run else _say_to_server(summary, root)
    if as_json:
        print_json(summary.model_dump(mode="json"))
        return
    if summary.rules is not None:
        for line in _lines(summary.rules):
            say(line, quiet)
    curation = summary.curation
    held_back = f" ({curation.held_back:,} on held-back images)" if curation.held_back else ""
    say(
        f"{plural(curation.curated, 'curated mask')} in {dataset}{held_back}, {curation.new:,} of "
        f"{curation.needed:,} new ones that make training worthwhile{said}",
        quiet,
    )
    for label, count in sorted(curation.too_few.items()):
        say(
            f"  {label} has {count:,}, too few to count (SEGMILL_CURATED_MIN_PER_LABEL)",
            quiet,
        )


def _say_to_server(summary: "CurateSummary", root: str | None) -> str:
    from app.prefect_side import require_server, server_url
    from flows.curate import say_ready
    from flows.events import CURATION_READY
    from flows.running import InProcess

    if server_url() is None:
        return ""
    require_server()  # the event goes out in the background, where nobody sees it fail
    summary.crossing = say_ready(summary.dataset, settings_for(root), InProcess())
    return "" if summary.crossing is None else f": said {CURATION_READY}"


def _lines(done: "RulesSummary") -> list[str]:
    names = sorted({*done.accepted, *done.reopened})
    verb = "would be" if done.dry_run else "were"
    lines = [
        f"{done.reviewer}: {plural(sum(done.accepted.values()), 'segment')} {verb} accepted, "
        f"{sum(done.reopened.values()):,} {verb} reopened"
    ]
    for name in names:
        taken, given = done.accepted.get(name, 0), done.reopened.get(name, 0)
        lines.append(f"  {name}: {taken:,} accepted" + (f", {given:,} reopened" if given else ""))
    return lines
