"""This machine: accelerator, disk space, clock, versions."""

import platform
import shutil
import tempfile
from collections.abc import Iterable
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, requires
from importlib.metadata import version as version_of
from pathlib import Path

from app.health.findings import Finding, ok, problem, warning

_GIB = 2**30
_LITTLE_SPACE, _TOO_LITTLE_SPACE = 10 * _GIB, 1 * _GIB
# S3 refuses requests that are a quarter of an hour off.
_WRONG_SECONDS, _REFUSED_SECONDS = 60, 900
_NAMED = ("prefect", "torch", "sam2", "duckdb", "deltalake")


def check_accelerator(device: str) -> Finding:
    """Add two numbers where models would compute.

    Args:
        device: The setting: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.
    """
    import torch

    if device == "auto":
        mps = getattr(torch.backends, "mps", None)
        usable = "mps" if mps is not None and mps.is_available() else "cpu"
        device = "cuda" if torch.cuda.is_available() else usable
    try:
        torch.ones(1, device=device).add(1).item()
    except Exception as error:  # each backend has errors of its own
        reason = str(error).splitlines()[0]
        do = "correct SEGMILL_DEVICE, or install a driver that fits this torch"
        return problem("accelerator", f"{device}: {reason}", do)
    if device.startswith("cuda"):
        return ok("accelerator", f"{device}: {torch.cuda.get_device_name(device)}")
    if device == "cpu":
        return ok("accelerator", "none, so the processor computes")
    return ok("accelerator", device)


def check_disk(folders: Iterable[tuple[str, str]]) -> list[Finding]:
    """Look for space on the disks of some folders, each disk once.

    Args:
        folders: What each is for, and where; one that is not there counts as its parent.
    """
    found, seen = [], set()
    for what, name in folders:
        path = Path(name).expanduser().absolute()
        path = next(item for item in (path, *path.parents) if _is_there(item))
        device = path.stat().st_dev
        if device in seen:
            continue
        seen.add(device)
        free = shutil.disk_usage(path).free
        told = f"{what}, {path}: {free / _GIB:.1f} GiB free"
        if free < _TOO_LITTLE_SPACE:
            found.append(problem("disk", told, "make space: segmill maintain, or a larger disk"))
        elif free < _LITTLE_SPACE:
            found.append(warning("disk", told, "make space before a large drop comes"))
        else:
            found.append(ok("disk", told))
    return found


def check_clock(name: str, theirs: datetime | None) -> list[Finding]:
    """Compare this machine's clock with another one.

    Args:
        name: Whose it is.
        theirs: What it showed a moment ago; None where it was not told.
    """
    if theirs is None:
        return []
    off = (datetime.now(UTC) - theirs).total_seconds()
    if abs(off) < _WRONG_SECONDS:
        return [ok("clock", f"as that of {name}, within {max(2, abs(off)):.0f} s")]
    told = f"{_long(abs(off))} {'ahead of' if off > 0 else 'behind'} that of {name}"
    do = "set the wrong one of the two, such as with timedatectl set-ntp true"
    make = problem if abs(off) > _REFUSED_SECONDS else warning
    return [make("clock", told, do)]


def check_versions() -> list[Finding]:
    """Compare the installed packages with what segmill asks for."""
    from packaging.requirements import Requirement

    found = []
    for text in requires("segmill") or ():
        wanted = Requirement(text)
        if wanted.marker and not wanted.marker.evaluate({"extra": ""}):
            continue
        try:
            here = version_of(wanted.name)
        except PackageNotFoundError:
            here = "none"
        if here == "none" or not wanted.specifier.contains(here, prereleases=True):
            told = f"{wanted.name} is {here}, but should be {wanted.specifier or 'there'}"
            found.append(problem("versions", told, "make setup, or install requirements.txt again"))
    if not found:
        named = ", ".join(f"{name} {version_of(name)}" for name in _NAMED)
        found.append(ok("versions", f"Python {platform.python_version()}, {named}"))
    return found


def scratch_folders(root: str) -> list[tuple[str, str]]:
    """Folders that fill up: what each is for, and where it is."""
    from prefect.settings import get_current_settings

    settings = get_current_settings()
    folders = [] if "://" in root else [("root", root)]
    results = settings.results.local_storage_path or settings.home
    return [
        *folders,
        ("temporary files", tempfile.gettempdir()),
        ("results of Prefect", str(results)),
    ]


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # not to be looked at, or impossible
        return False


def _long(seconds: float) -> str:
    for name, size in (("day", 86_400), ("hour", 3_600), ("minute", 60)):
        if seconds > 0.95 * size:
            return f"{seconds / size:.1f} {name}s"
    return f"{seconds:.0f} seconds"
