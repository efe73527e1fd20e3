"""A folder that appears whole or not at all."""

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

# Hidden, so that a folder with it is a drop like any other.
MARKER = ".segmill-export.json"


class OutputFolderError(ValueError):
    """The output is a file, or a folder whose content is not to be replaced.

    Attributes:
        output: the path.
    """

    def __init__(self, output: Path, reason: str) -> None:
        self.output = output
        super().__init__(f"{output} {reason}")


@contextmanager
def whole_folder(output: Path, overwrite: bool) -> Iterator[Path]:
    """Write a folder under a temporary name beside it; it gets its name at the end of the block.

    Args:
        output: the folder, which is new or empty.
        overwrite: whether it may also be an earlier export, which is then replaced.

    Yields:
        The temporary folder. If the block raises, it is removed and `output` is as it was.

    Raises:
        OutputFolderError: there is something else at `output`.
    """
    _check_replaceable(output, overwrite)
    output = output.absolute()
    output.parent.mkdir(parents=True, exist_ok=True)
    temporary = output.with_name(f".{output.name}.{uuid4().hex[:12]}.tmp")
    temporary.mkdir()
    try:
        yield temporary
        # Somebody may have used the name in the meantime.
        _check_replaceable(output, overwrite)
        _put_in_place(temporary, output)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def write_marker(folder: Path, facts: Mapping[str, Any]) -> None:
    """Mark a folder as an export, with how it was made."""
    text = json.dumps(facts, indent=2, ensure_ascii=False, default=str)
    (folder / MARKER).write_text(text + "\n", encoding="utf-8")


def _check_replaceable(output: Path, overwrite: bool) -> None:
    if output.is_symlink() or (output.exists() and not output.is_dir()):
        raise OutputFolderError(output, "is not a folder")
    if not output.exists() or not any(output.iterdir()):
        return
    if not overwrite:
        raise OutputFolderError(output, "is not empty; choose a new folder or add --overwrite")
    # A slip in the path must not cost somebody's files.
    if not (output / MARKER).is_file():
        raise OutputFolderError(output, "is no earlier export, so it is not overwritten")


def _put_in_place(temporary: Path, output: Path) -> None:
    if not output.exists():
        temporary.rename(output)
        return
    old = output.with_name(temporary.name.removesuffix(".tmp") + ".old")
    output.rename(old)
    try:
        temporary.rename(output)
    except BaseException:
        old.rename(output)
        raise
    shutil.rmtree(old)
