"""Options that several commands share, and how commands answer."""

import json
import math
import sys
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from storage.settings import Settings

DONE, FINDINGS, WRONG_USE = 0, 1, 2


def _positive(seconds: float | None) -> float | None:
    if seconds is not None and not 0 < seconds < math.inf:
        raise typer.BadParameter(f"expected seconds above 0, but got {seconds:g}")
    return seconds


Root = Annotated[
    str | None,
    typer.Option(
        help="A folder or s3://bucket/prefix. \\[default: $SEGMILL_ROOT or segmill-root]",
        show_default=False,
    ),
]
Dataset = Annotated[str, typer.Option(help="The dataset the images belong to.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress, no summary.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done; write nothing.")]
AsOf = Annotated[
    list[str] | None,
    typer.Option(
        metavar="TIME|TABLE=VERSION",
        help="Read the tables as they were: at a time (2026-11-01, 2026-11-01T02:00, UTC unless it "
        "ends in +01:00), or one of them at a version; can be given several times.",
    ),
]
Model = Annotated[
    str | None,
    typer.Option(
        help="Segmenter: promoted, model:ID, demo, file:PATH or hub:ORG/NAME. "
        "\\[default: promoted]",
        show_default=False,
    ),
]
ClipModel = Annotated[
    str | None,
    typer.Option(
        help="Labeller: demo, file:PATH or hub:ORG/NAME. \\[default: demo]", show_default=False
    ),
]
Labels = Annotated[
    str | None,
    typer.Option(
        help="Label set: a name in configs/labels/, or a YAML file. \\[default: comic]",
        show_default=False,
    ),
]
Preset = Annotated[
    str | None,
    typer.Option(
        help="Mask generator preset: sam2, sam1-notebook, fast, dense, demo. \\[default: demo]",
        show_default=False,
    ),
]
Precision = Annotated[
    Literal["exact", "fast"] | None,
    typer.Option(
        help="exact: 32 bits; fast: 16 bits, with slightly other masks. \\[default: exact]",
        show_default=False,
    ),
]

GpuSecondsBudget = Annotated[
    float | None,
    typer.Option(
        metavar="SECONDS",
        help="How long the models may hold their device; images that do not fit wait for the next "
        "run. \\[default: $SEGMILL_GPU_SECONDS_BUDGET or no limit]",
        callback=_positive,
        show_default=False,
    ),
]


def settings_for(root: str | None) -> "Settings":
    """The machine's settings, with the root that the command line names.

    Whatever a command computes, it computes in its own process, also where deployments have a
    cluster.

    Raises:
        typer.BadParameter: If the root is a URI, but not of S3.
        SecretInAddressError: If it has a password in it.
    """
    from storage.addresses import require_plain
    from storage.settings import get_settings

    settings = get_settings()
    chosen = root or settings.root
    require_plain(chosen, "--root")
    if "://" in chosen and not chosen.startswith("s3://"):
        raise typer.BadParameter(f"a root is a folder or s3://bucket/prefix, not {chosen!r}")
    return settings.model_copy(update={"root": chosen, "engine": "threads"})


def print_json(answer: Any) -> None:
    """Print one JSON document on stdout."""
    typer.echo(json.dumps(answer, indent=2, ensure_ascii=False, default=str))


def answer_console() -> "Console":
    """Where tables are printed: as wide as the terminal, and wide where there is none."""
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else 160)


def say(text: str, quiet: bool = False) -> None:
    """Tell the person something, on stderr, so that stdout holds results only."""
    if not quiet:
        typer.echo(text, err=True)


def plural(count: int, noun: str, many: str | None = None) -> str:
    """A count with its noun, such as `1 image` or `1,200 images`."""
    return f"{count:,} {noun if count == 1 else many or noun + 's'}"
