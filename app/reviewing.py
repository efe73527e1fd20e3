"""segmill review: look at segments and say what is right with them."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from app.answers import Format, Output, write_answer
from app.deciding import decide, record, reviewer_name
from app.options import Dataset, DryRun, Json, Labels, Quiet, Root, plural, say, settings_for
from app.sample_table import sample_table

review = typer.Typer(
    no_args_is_help=True, help="Look at segments, and accept, reject, relabel or fix them."
)

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
    decide("accept", segments, where, reviewer, based_on, root, as_json, quiet, dry_run)


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
    decide("reject", segments, where, reviewer, based_on, root, as_json, quiet, dry_run)


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
    decide(
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
    decide(
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
    decide("reopen", segments, where, reviewer, based_on, root, as_json, quiet, dry_run)


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
    decisions = read_decisions(file, reviewer_name(reviewer, settings), settings.max_json_bytes)
    record(settings, decisions, labels, as_json, quiet, dry_run)


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
    write_answer(sample_table(chosen, output_format), output_format, output)
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
