"""The folder of a run: who may train in it, and which run it belongs to."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from vision.finetune.config import TrainConfig
from vision.finetune.config_file import make_config, setting_names
from vision.finetune.errors import FolderInUseError, OtherRunError
from vision.finetune.tensor_files import write_file

RUN = "run.json"
CHECKPOINTS, PICTURES, LOGS = "checkpoints", "pictures", "logs"

_LOCK = ".lock"

# What may change between two attempts at a run: it does not decide what a step learns, or says
# how far the run goes.
_FREE = (
    "limits.", "early_stopping.", "trackers.", "checkpoints.", "data.workers",
    "validation.pictures", "device",
)  # fmt: skip


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep other processes from training in a folder; a process that dies lets go of it.

    Raises:
        FolderInUseError: Another one is at it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / _LOCK).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise FolderInUseError(folder) from None
        yield


def begin_run(
    folder: Path,
    asked: TrainConfig,
    filled: TrainConfig,
    data: str,
    base: str,
    write: bool = True,
) -> TrainConfig:
    """Write down which run a folder belongs to, or see that it is this one.

    What the machine chose for a run is kept: less free memory must not change a run that goes on.

    Args:
        folder: The run's.
        asked: The settings as given.
        filled: The settings with what the machine chose for `auto`.
        data: Digest of the data.
        base: Id of the model that training begins with.
        write: Whether this process writes it down.

    Returns:
        The settings to train with, without `auto`.

    Raises:
        OtherRunError: It belongs to another run.
    """
    path = folder / RUN
    now = {"asked": flat_settings(asked), "data": data, "base": base}
    if path.is_file():
        before = json.loads(path.read_bytes())
        if differences := list(_differences(before, now)):
            raise OtherRunError(folder, differences)
        chosen = make_config(before["filled"])
        for name in setting_names():
            if not name.startswith(_FREE):
                filled = _with(filled, name, _value(chosen, name))
    if write:
        kept = now | {"filled": filled.model_dump(mode="json")}
        write_file(path, json.dumps(kept, indent=1).encode())
    return filled


def _differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    for name, value in now["asked"].items():
        earlier = before["asked"].get(name)
        if earlier != value and not name.startswith(_FREE):
            yield f"{name} was {earlier} and is {value}"
    if before["base"] != now["base"]:
        yield f"the model was {before['base']} and is {now['base']}"
    if before["data"] != now["data"]:
        yield "the images or masks are others"


def flat_settings(config: TrainConfig) -> dict[str, Any]:
    """Every setting by its dotted name, as JSON has it."""
    tree = config.model_dump(mode="json")
    return {name: _branch(tree, name.split(".")) for name in setting_names()}


def _branch(tree: Any, keys: list[str]) -> Any:
    for key in keys:
        tree = tree[key]
    return tree


def _value(config: Any, name: str) -> Any:
    for key in name.split("."):
        config = getattr(config, key)
    return config


def _with(config: Any, name: str, value: Any) -> Any:
    key, _, rest = name.partition(".")
    value = _with(getattr(config, key), rest, value) if rest else value
    return config.model_copy(update={key: value})
