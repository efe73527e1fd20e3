"""segmill review: look at segments and say what is right with them."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from app.answers import Format, Output, write_answer
from app.options import (
    FINDINGS,
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
    import pyarrow as pa

    from storage.lake import Lake
    from storage.settings import Settings
    from tasks.review_decisions import Decision
    from tasks.review_sample import SampledSegment
    from tasks.reviews import ReviewResult

review = typer.Typer(
    no_args_is_help=True, help="Look at segments, and accept, reject, relabel or fix them."
)

_SHOWN = 20
_HISTORY = """
SELECT decision, label, reviewer, version, decided_at, area_px
FROM reviews WHERE segment_id = $segment_id
ORDER BY table_version
"""

Segments = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[SEGMENT]...",
        help="Ids of segments, or beginnings of them (six letters at least).",
        show_default=False,
    ),
]
Where = Annotated[
    str | None,
    typer.Option(metavar="SQL", help="All segments that fulfil this, by the columns of segments."),
]
Reviewer = Annotated[
    str | None,
    typer.Option(
        help="Who decides. \\[default: $SEGMILL_REVIEWER, or the user of this machine]",
        show_default=False,
    ),
]
BasedOn = Annotated[
    int | None,
    typer.Option(
        min=0,
        metavar="VERSION",
        help="The last decision that was seen, 0 for none: refuse if there is a later one. "
        "\\[default: take what there is]",
        show_default=False,
    ),
]
Label = Annotated[str, typer.Option("--label", help="The right label.")]


@review.command()
def accept(
    segments: Segments = None,
    where: Where = None,
    reviewer: Reviewer = None,
    based_on: BasedOn = None,
    root: Root = None,
    as_json: Json = False,
    quiet: Quiet = False,
    dry_run: DryRun = False,
) -> None:
    """Say that mask and label are right: the segments may be trained on.

    Examples:
      segmill review accept 7ffe8d02d14a 78da21492e0b

      segmill review accept --where "label = 'panel' AND score > 0.95" --dry-run
    """
    _decide("accept", segments, where, reviewer, based_on, root, as_json, quiet, dry_run)


@review.command()
def reject(
    segments: Segments = None,
    where: Where = None,
    reviewer: Reviewer = None,
    based_on: BasedOn = None,
    root: Root = None,
    as_json: Json = False,
    quiet: Quiet = False,
    dry_run: DryRun = False,
) -> None:
    """Say that the mask is no object: rules do not accept it any more.

    Examples:
      segmill review reject 7ffe8d02d14a

      segmill review reject --where "label = 'text' AND area_px < 40"
    """
    _decide("reject", segments, where, reviewer, based_on, root, as_json, quiet, dry_run)


@review.command()
def relabel(
    label: Label,
    segments: Segments = None,
    where: Where = None,
    reviewer: Reviewer = None,
    based_on: BasedOn = None,
    labels: Labels = None,
    root: Root = None,
    as_json: Json = False,
    quiet: Quiet = False,
    dry_run: DryRun = False,
) -> None:
    """Say that the mask is right, and the label another one of the label set.

    Examples:
      segmill review relabel 7ffe8d02d14a --label bubble
    """
    _decide(
        "relabel", segments, where, reviewer, based_on, root, as_json, quiet, dry_run,
        label=label, labels=labels,
    )  # fmt: skip


@review.command()
def fix(
    segment: Annotated[str, typer.Argument(help="Id of a segment, or the beginning of it.")],
    mask: Annotated[
        Path, typer.Option(help="PNG of the image's size; what is not black is the object.")
    ],
    label: Annotated[
        str | None, typer.Option("--label", help="The right label, if it is another one.")
    ] = None,
    reviewer: Reviewer = None,
    based_on: BasedOn = None,
    labels: Labels = None,
    root: Root = None,
    as_json: Json = False,
    quiet: Quiet = False,
    dry_run: DryRun = False,
) -> None:
    """Give a segment another mask.

    Examples:
      segmill review fix 7ffe8d02d14a --mask bubble.png

      segmill review fix 7ffe8d02d14a --mask bubble.png --label text
    """
    from vision.masks import mask_to_rle, png_to_mask

    if not mask.is_file():
        raise typer.BadParameter(f"no such file: {mask}", param_hint="--mask")
    pixels = png_to_mask(mask.read_bytes())
    rle = {"size": list(pixels.shape), "counts": mask_to_rle(pixels)}
    _decide(
        "fix", [segment], None, reviewer, based_on, root, as_json, quiet, dry_run,
        label=label, labels=labels, mask=rle,
    )  # fmt: skip


@review.command()
def reopen(
    segments: Segments = None,
    where: Where = None,
    reviewer: Reviewer = None,
    based_on: BasedOn = None,
    root: Root = None,
    as_json: Json = False,
    quiet: Quiet = False,
    dry_run: DryRun = False,
) -> None:
    """Take back what a person decided: the segments are undecided again, or as rules decide.

    Examples:
      segmill review reopen 7ffe8d02d14a
    """
    _decide("reopen", segments, where, reviewer, based_on, root, as_json, quiet, dry_run)


@review.command("apply")
def apply_file(
    file: Annotated[
        Path, typer.Argument(help=".csv with a head line, or .json with a list of objects.")
    ],
    reviewer: Reviewer = None,
    labels: Labels = None,
    root: Root = None,
    as_json: Json = False,
    quiet: Quiet = False,
    dry_run: DryRun = False,
) -> None:
    """Record the decisions of a file: segment_id, decision, and label or rle where it needs one.

    Rows without a decision are left out. If any row makes no sense nothing is
    recorded. Rows with a number in based_on, as a sample has them, are refused if
    somebody decided since.

    Examples:
      segmill review sample -n 50 --format csv -o todo.csv

      segmill review apply todo.csv --dry-run
    """
    from tasks.decision_files import read_decisions

    settings = settings_for(root)
    if not file.is_file():
        raise typer.BadParameter(f"no such file: {file}", param_hint="FILE")
    decisions = read_decisions(file, _reviewer(reviewer, settings), settings.max_json_bytes)
    _record(settings, decisions, labels, as_json, quiet, dry_run)


@review.command()
def sample(
    count: Annotated[int, typer.Option("--count", "-n", min=1, help="How many segments.")] = 20,
    dataset: Dataset = "default",
    by: Annotated[
        Literal["margin", "disagreement", "random"],
        typer.Option(
            help="margin: the first two labels are close; disagreement: another cut of the image "
            "found something else there; random: any."
        ),
    ] = "margin",
    label: Annotated[str | None, typer.Option(help="Only segments with this label.")] = None,
    audit: Annotated[
        bool, typer.Option("--audit", help="Of those that rules accepted, not of undecided ones.")
    ] = False,
    seed: Annotated[int, typer.Option(help="The same seed chooses the same.")] = 0,
    sheet: Annotated[
        Path | None, typer.Option(help="Also write a PNG that shows them.", show_default=False)
    ] = None,
    columns: Annotated[int, typer.Option(min=1, max=40, help="In each row of the PNG.")] = 6,
    output_format: Format = "table",
    output: Output = None,
    root: Root = None,
    quiet: Quiet = False,
) -> None:
    """Choose segments to look at: the least certain, spread over labels, images and looks.

    A file of csv or json has columns to fill in, for `segmill review apply`.

    Examples:
      segmill review sample --sheet todo.png

      segmill review sample -n 50 --by random --audit --format csv -o audit.csv
    """
    from app.terminal import stage_progress
    from storage.lake import Lake
    from storage.objects import open_store
    from tasks.review_sample import sample_for_review
    from tasks.sample_sheet import MOST_TILES, TooManyTilesError, write_sheet

    if sheet is not None and count > MOST_TILES:
        raise TooManyTilesError(count)
    settings = settings_for(root)
    chosen = sample_for_review(
        Lake.open(settings.root), dataset, count, by=by, label=label, audit=audit, seed=seed
    )
    write_answer(_sample_table(chosen, output_format), output_format, output)
    if not chosen:
        say("no segment is left to look at", quiet)
    elif sheet is not None:
        with stage_progress(quiet=quiet) as progress:
            missing = write_sheet(
                open_store(settings.root), chosen, sheet,
                columns=columns, max_px=settings.max_image_px, progress=progress,
            )  # fmt: skip
        say(f"pictures of {plural(len(chosen) - missing, 'segment')}: {sheet}", quiet)
        if missing:
            say(f"  of {plural(missing, 'segment')} the image is gone or broken", quiet)


@review.command()
def show(
    segment: Annotated[str, typer.Argument(help="Id of a segment, or the beginning of it.")],
    root: Root = None,
    output_format: Format = "table",
    output: Output = None,
) -> None:
    """Show all that was decided about a segment, the last at the end.

    Examples:
      segmill review show 7ffe8d02d14a
    """
    from storage.lake import Lake
    from storage.session import read_only_query
    from tasks.choose_segments import segments_named

    lake = Lake.open(settings_for(root).root)
    (segment_id,) = segments_named(lake, [segment])
    found = read_only_query(lake, _HISTORY, {"segment_id": segment_id})
    write_answer(found, output_format, output)


def _decide(
    decision: str,
    names: list[str] | None,
    where: str | None,
    reviewer: str | None,
    based_on: int | None,
    root: str | None,
    as_json: bool,
    quiet: bool,
    dry_run: bool,
    *,
    label: str | None = None,
    labels: str | None = None,
    mask: Any = None,
) -> None:
    from uuid import uuid4

    from storage.lake import Lake
    from tasks.review_decisions import Decision

    settings = settings_for(root)
    decided_by = _reviewer(reviewer, settings)
    decisions = [
        Decision(
            decision_id=str(uuid4()),
            segment_id=segment_id,
            decision=decision,
            reviewer=decided_by,
            label=label,
            mask=mask,
            based_on=based_on,
        )
        for segment_id in _chosen(Lake.open(settings.root), names, where)
    ]
    _record(settings, decisions, labels, as_json, quiet, dry_run)


def _chosen(lake: "Lake", names: list[str] | None, where: str | None) -> list[str]:
    from tasks.choose_segments import segments_named, segments_where

    if bool(names) == (where is not None):
        found = "both" if names else "neither"
        raise typer.BadParameter(f"expected ids of segments or --where, but got {found}")
    return segments_named(lake, names) if names else segments_where(lake, where or "")


def _reviewer(given: str | None, settings: "Settings") -> str:
    from getpass import getuser

    if name := given or settings.reviewer:
        return name
    try:
        return getuser()
    except (KeyError, OSError):
        raise typer.BadParameter(
            "expected --reviewer or SEGMILL_REVIEWER, for this machine's user has no name"
        ) from None


def _record(
    settings: "Settings",
    decisions: "Sequence[Decision]",
    labels: str | None,
    as_json: bool,
    quiet: bool,
    dry_run: bool,
) -> None:
    from storage.lake import Lake
    from tasks.reviews import record_reviews
    from vision.clip import load_label_set

    names = load_label_set(labels or settings.labels).names
    results = record_reviews(Lake.open(settings.root), decisions, names, dry_run=dry_run)
    told = _by_outcome(results)
    if as_json:
        stale = [
            {"segment_id": result.decision.segment_id, "newest": _newest(result)}
            for result in told["stale"]
        ]
        counts = {name: len(told[name]) for name in ("recorded", "repeated")}
        print_json(counts | {"stale": stale, "dry_run": dry_run})
    else:
        for line in _lines(told, dry_run):
            say(line, quiet)
    if told["stale"]:
        raise typer.Exit(FINDINGS)


def _by_outcome(results: "Sequence[ReviewResult]") -> "dict[str, list[ReviewResult]]":
    return {
        outcome: [result for result in results if result.outcome == outcome]
        for outcome in ("recorded", "repeated", "stale")
    }


def _newest(result: "ReviewResult") -> dict[str, Any] | None:
    return None if result.newest is None else asdict(result.newest)


def _lines(told: "dict[str, list[ReviewResult]]", dry_run: bool) -> list[str]:
    if not any(told.values()):
        return ["no segment fits: nothing was recorded"]
    recorded = plural(len(told["recorded"]), "decision")
    lines = [f"would record {recorded}" if dry_run else f"recorded {recorded}"]
    if told["repeated"]:
        lines.append(f"  {plural(len(told['repeated']), 'segment')} had been decided so before")
    stale = told["stale"]
    for result in stale[:_SHOWN]:
        lines.append(
            f"  {result.decision.segment_id} was decided about meanwhile, and is left as it is: "
            f"{result.newest or 'reopened'}"
        )
    if len(stale) > _SHOWN:
        lines.append(f"  and {plural(len(stale) - _SHOWN, 'more such segment')}")
    return lines


def _sample_table(chosen: "Sequence[SampledSegment]", output_format: str) -> "pa.Table":
    import pyarrow as pa

    def texts(name: str) -> "pa.Array":
        return pa.array([getattr(item, name) for item in chosen], pa.string())

    def numbers(name: str, kind: "pa.DataType") -> "pa.Array":
        return pa.array([getattr(item, name) for item in chosen], kind)

    told = {
        "number": numbers("number", pa.int64()),
        "segment_id": texts("segment_id"),
        "found_label": texts("label"),
        "second_label": texts("second_label"),
        "margin": numbers("margin", pa.float64()),
        "score": numbers("score", pa.float64()),
    }
    if output_format == "table":
        return pa.table(told | {"file_name": texts("file_name")})
    nothing = pa.nulls(len(chosen), pa.string())
    to_fill_in = {"segment_id": told.pop("segment_id"), "decision": nothing, "label": nothing}
    more = {
        "uncertainty": numbers("uncertainty", pa.float64()),
        "area_px": numbers("area_px", pa.int64()),
        "file_name": texts("file_name"),
        "image_id": texts("image_id"),
        "model_id": texts("model_id"),
    }
    return pa.table(to_fill_in | {"based_on": numbers("based_on", pa.int64())} | told | more)
