"""segmill stats: count the segments, by label or by where they come from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from app.options import (
    AsOf,
    ClipModel,
    Json,
    Labels,
    Model,
    Precision,
    Preset,
    Quiet,
    Root,
    answer_console,
    print_json,
    say,
    settings_for,
)

if TYPE_CHECKING:
    from storage.settings import Settings
    from storage.versions import Versions
    from tasks.models import ModelChoice

By = Literal["label", "dataset", "model", "night"]

_LABEL_COLUMNS = (
    "label", "count", "images", "total_area_px", "union_area_px", "mean_area_px",
    "median_area_px", "mean_score",
)  # fmt: skip
_COLUMNS = ("count", "images", "total_area_px", "mean_area_px", "mean_score", "unknown_share")


@dataclass(frozen=True)
class _Scope:
    """What is counted; None is all of them.

    Attributes:
        dataset: The dataset.
        choice: The models.
        since: When the segments were found, or later.
        versions: Versions of the tables.
    """

    dataset: str | None
    choice: "ModelChoice | None"
    since: datetime | None
    versions: "Versions"

    def parameters(self) -> dict[str, Any]:
        """As the named queries take it."""
        names = ("model_id", "params_id", "label_set_id")
        values = {name: getattr(self.choice, name) if self.choice else None for name in names}
        return {"dataset": self.dataset, "since": self.since, **values}


def stats(
    by: Annotated[
        By, typer.Option(help="What to count by; a night is the day in UTC of the segments.")
    ] = "label",
    dataset: Annotated[
        str | None,
        typer.Option(
            help="Only this dataset. \\[default: default; all with --by dataset]",
            show_default=False,
        ),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Only segments found at this time or later, in UTC."),
    ] = None,
    model: Model = None,
    clip_model: ClipModel = None,
    labels: Labels = None,
    preset: Preset = None,
    precision: Precision = None,
    html: Annotated[Path | None, typer.Option(help="Also write a page with pictures.")] = None,
    as_of: AsOf = None,
    root: Root = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Count segments by label, dataset, model or night: how many, on how many images, how large.

    They are those that the models of the options cut and named; with --by model those of all.

    Examples:
      segmill stats

      segmill stats --dataset street --labels street --html street.html

      segmill stats --by night --since 2026-11-01

      segmill stats --by model --dataset street --json
    """
    from flows.requests import StatsRequest
    from storage.lake import Lake
    from storage.versions import past_time, versions_as_of
    from tasks.models import choose_models

    if by == "model" and any((model, clip_model, labels, preset, precision)):
        raise typer.BadParameter("--by model counts what all models cut; leave the model out")
    if html is not None and (since is not None or by == "model"):
        raise typer.BadParameter("the page of --html has neither --since nor --by model")
    settings = settings_for(root)
    request = StatsRequest(
        dataset=dataset or "default", model=model, clip_model=clip_model, labels=labels,
        preset=preset, precision=precision,
    )  # fmt: skip
    scope = _Scope(
        dataset=dataset if by == "dataset" else request.dataset,
        choice=None if by == "model" else choose_models.fn(**request.models(settings)),
        since=None if since is None else past_time(since),
        versions=versions_as_of(Lake.open(settings.root), as_of or ()),
    )
    rows = _counted(by, scope, settings)
    if html is not None:
        _write_page(html, settings, request.dataset, scope)
        say(f"wrote {html}", quiet)
    if as_json:
        print_json(_answer(by, scope, rows))
        return
    _print(by, rows)
    if not rows:
        whose = "" if scope.choice is None else f" by {scope.choice.model_id}"
        say(
            f"no segments{whose} in {'any dataset' if scope.dataset is None else scope.dataset}; "
            "see what there is with --by dataset, --by model and --by night",
            quiet,
        )


def _counted(by: By, scope: _Scope, settings: "Settings") -> list[dict[str, Any]]:
    from storage.lake import Lake

    if by == "label" and scope.since is None and not scope.versions:
        from flows.running import InProcess
        from flows.stats import run_stats
        from tasks.label_stats import newest_label_stats

        assert scope.dataset is not None and scope.choice is not None
        run_stats(scope.dataset, scope.choice, settings, InProcess())
        return newest_label_stats(Lake.open(settings.root), scope.dataset, scope.choice)

    from storage.queries import named_query
    from storage.session import connect

    with connect(Lake.open(settings.root), scope.versions) as session:
        found = session.sql(named_query("statistics"), params={"by": by} | scope.parameters())
        rows: list[dict[str, Any]] = found.to_arrow_table().to_pylist()
    own = set() if by == "model" else {"params_id", "label_set_id"}
    # A union of labels' unions would count a pixel once for each label.
    own |= {"unknown_share"} if by == "label" else {"union_area_px"}
    return [
        {by: row["key"]} | {name: row[name] for name in row if name != "key" and name not in own}
        for row in rows
    ]


def _write_page(page: Path, settings: "Settings", dataset: str, scope: _Scope) -> None:
    from tasks.report.render import render_report
    from tasks.write_report import report_data

    assert scope.choice is not None
    data = report_data(settings.root, dataset, scope.choice, versions=scope.versions)
    page.write_text(render_report(data), encoding="utf-8")


def _answer(by: By, scope: _Scope, rows: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "by": by,
        "dataset": scope.dataset,
        "model_id": scope.choice.model_id if scope.choice else None,
        f"{by}s": rows,
    }


def _print(by: By, rows: Sequence[Mapping[str, Any]]) -> None:
    from app.bars import print_bars
    from vision.draw.colors import hex_color, label_colors

    columns = _LABEL_COLUMNS
    if by != "label":
        columns = (by, *_COLUMNS, *(("params_id", "label_set_id") if by == "model" else ()))
    colors = label_colors(row["label"] for row in rows) if by == "label" else {}
    print_bars(
        rows,
        columns,
        "count",
        color=lambda row: hex_color(colors[row["label"]]) if by == "label" else "blue",
        console=answer_console(),
    )
