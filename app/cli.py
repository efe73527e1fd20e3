"""The `segmill` command. What a verb needs is imported when it runs, so that `--help` is quick."""

import sys
from typing import Annotated

import typer

from app.calibration import calibrate
from app.checks import check
from app.curation import curate
from app.demo import demo
from app.doctor import doctor
from app.evaluation import evaluate
from app.exports import export
from app.failures import exit_code_of, message_of
from app.maintenance import maintain
from app.masks import masks
from app.opening import open_lake
from app.options import WRONG_USE
from app.predict import predict
from app.provisioning import provision
from app.queries import query, sql
from app.registry import models
from app.retraction import retract
from app.reviewing import review
from app.runs import ingest, nightly, segment
from app.statistics import stats
from app.status import status
from app.training import train
from app.up import up
from app.verification import verify
from app.watching import watch

INTERRUPTED = 130
# What these have finished is kept, and not done again.
_RESUMING = {
    ("demo",),
    ("ingest",),
    ("segment",),
    ("stats",),
    ("nightly",),
    ("curate",),
    ("train",),
    ("export", "crops"),
    ("models", "register"),
    ("models", "promote"),
    ("maintain",),
    ("retract",),
    ("provision",),
}

app = typer.Typer(
    name="segmill",
    help="Drop images in a bucket: SAM 2 cuts them, CLIP names the pieces, DuckDB counts them.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


@app.callback()
def segmill(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """Drop images in a bucket: SAM 2 cuts them, CLIP names the pieces, DuckDB counts them."""
    if version:
        from importlib.metadata import version as version_of

        typer.echo(version_of("segmill"))
        raise typer.Exit


_VERBS = (
    demo, ingest, check, masks, segment, stats, nightly, sql, query, predict, calibrate, curate,
    train, evaluate, maintain, retract, verify, provision, watch, doctor, status, up,
)  # fmt: skip
for verb in _VERBS:
    app.command()(verb)
app.command("open")(open_lake)
app.add_typer(export, name="export")
app.add_typer(models, name="models")
app.add_typer(review, name="review")


def main() -> None:
    """Run the command; exits: 0 done, 1 findings or partial failure, 2 wrong use, 130 Ctrl-C."""
    try:
        app()
    except (KeyboardInterrupt, SystemExit) as stop:
        # Typer makes an exit of a KeyboardInterrupt.
        if isinstance(stop, SystemExit) and stop.code != INTERRUPTED:
            raise
        typer.echo(_interrupted(sys.argv[1:]), err=True)
        sys.exit(INTERRUPTED)
    except Exception as error:
        code = exit_code_of(error)
        if code is None:
            raise
        kind = "wrong use" if code == WRONG_USE else "failed"
        typer.secho(f"{kind}: {message_of(error)}", fg="red", err=True)
        sys.exit(code)


def _interrupted(arguments: list[str]) -> str:
    if tuple(arguments[:1]) in _RESUMING or tuple(arguments[:2]) in _RESUMING:
        return "interrupted; run the same command again to go on"
    return "interrupted"


if __name__ == "__main__":
    main()
