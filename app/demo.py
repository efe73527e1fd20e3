"""segmill demo: the whole engine on generated comic pages, then what to try next."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from app.options import Json, Quiet, print_json

FIRST_SEED = 910_000_000
DATASET = "demo"


def demo(
    root: Annotated[str, typer.Option(help="Data root of the demo.")] = "demo-root",
    pages: Annotated[int, typer.Option(min=1, max=10_000, help="Pages to generate.")] = 24,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Generate comic pages, one image and one annotation broken on purpose, and run a night.

    A second run finds that there is nothing left to do.

    Examples:
      segmill demo

      segmill demo --root /tmp/demo --pages 4
    """
    from app.terminal import print_summary, stage_progress
    from flows.nightly import report_name, run_nightly
    from flows.requests import NightlyRequest
    from flows.running import InProcess
    from storage.settings import get_settings

    folder = Path(root) / "inbox" / "comic-pages"
    settings = get_settings().model_copy(update={"root": root})
    request = NightlyRequest(
        dataset=DATASET, model="demo", clip_model="demo", labels="comic", preset="demo"
    )
    with stage_progress(quiet=quiet or as_json) as progress:
        run = InProcess(progress)
        with run.stage("draw pages"):
            write_pages(folder, pages)
        page = Path(root).absolute() / "reports" / f"{report_name(DATASET)}.html"
        summary, data = run_nightly(request, settings, run, next_commands(root, page.as_uri()))
    if as_json:
        print_json(summary.model_dump(mode="json"))
    elif data is not None and not quiet:
        print_summary(data, report_uri=summary.report_uri)
    summary.ingest.raise_for_bad_drops()


def write_pages(folder: Path, pages: int) -> None:
    """Write the demo's drop, unless it is there with so many pages.

    Args:
        folder: The drop.
        pages: Pages, the broken one not counted.
    """
    from examples.comics.drop import write_drop

    present = len(list(folder.glob("images/page_[0-9]*")))
    if (folder / "_DONE").exists() and present == pages:
        return
    write_drop(folder, range(FIRST_SEED, FIRST_SEED + pages), broken=True)


def next_commands(root: str, page: str) -> list[tuple[str, str]]:
    """What to try after the demo: a query, a page to open, a deployment to run.

    Args:
        root: Data root of the demo.
        page: Where the report is.
    """
    columns = "label, count(*) AS segments, round(avg(area_px)) AS mean_area_px"
    query = f"SELECT {columns} FROM segments GROUP BY label ORDER BY segments DESC"
    return [
        ("ask the tables", f'segmill sql --root {shlex.quote(root)} "{query}"'),
        ("open the page", f"python3 -m webbrowser {shlex.quote(page)}"),
        (
            "run it as a deployment, where a Prefect server and a worker are up",
            "prefect deployment run nightly/nightly --watch",
        ),
    ]
