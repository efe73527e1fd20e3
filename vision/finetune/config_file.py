"""Read the settings of a run: a YAML file and `key=value` overrides, with errors that help."""

import json
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from vision.finetune.config import TrainConfig
from vision.finetune.errors import ConfigError
from vision.strict_yaml import StrictYamlError, load_yaml

DEFAULT_FILE = Path(__file__).resolve().parents[2] / "configs" / "train.yaml"
MAX_BYTES = 1024 * 1024

_OVERRIDES = "--set"


def read_config(path: Path | None = None, overrides: Iterable[str] = ()) -> TrainConfig:
    """Read settings; what the file leaves out keeps its default.

    Args:
        path: A YAML file; None for `configs/train.yaml`.
        overrides: `section.key=value` each, the value in YAML; later ones win.

    Raises:
        FileNotFoundError: There is no such file.
        ConfigError: Something in it is unknown, out of range or at odds; all of it is named.
    """
    path = path or DEFAULT_FILE
    data = path.read_bytes()
    if len(data) > MAX_BYTES:
        raise ConfigError(path.name, [f"expected at most {MAX_BYTES:,} bytes, but found more"])
    tree = _load(path.name, data)
    if tree is None:
        tree = {}
    if not isinstance(tree, dict):
        raise ConfigError(path.name, ["expected sections such as `data:`, each with settings"])
    source = path.name
    for override in overrides:
        source = f"{path.name} with {_OVERRIDES}"
        _override(tree, override)
    return make_config(tree, source)


def make_config(tree: Mapping[str, Any], source: str = "settings") -> TrainConfig:
    """Check settings that are given as nested mappings.

    Args:
        tree: Sections by name.
        source: Where they come from, for messages.

    Raises:
        ConfigError: As `read_config`.
    """
    try:
        text = json.dumps(tree, default=str)
    except TypeError:
        problem = "a name is no text but a date or the like: no setting is called so"
        raise ConfigError(source, [problem]) from None
    except (ValueError, RecursionError):
        problem = "a value holds itself (*name within &name), which no setting does"
        raise ConfigError(source, [problem]) from None
    try:
        # From JSON, a list may stand for a tuple and nothing else for anything else.
        return TrainConfig.model_validate_json(text)
    except ValidationError as error:
        raise ConfigError(source, list(_problems(error))) from None


def setting_names(model: type[BaseModel] = TrainConfig, prefix: str = "") -> list[str]:
    """The dotted names of all settings."""
    names = []
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            names += setting_names(kind, f"{prefix}{name}.")
        else:
            names.append(prefix + name)
    return names


def _load(source: str, data: bytes | str) -> Any:
    try:
        return load_yaml(data)
    except StrictYamlError as error:
        raise ConfigError(source, [f"no YAML: {error}"]) from None


def _override(tree: dict[str, Any], override: str) -> None:
    name, equals, text = override.partition("=")
    keys = name.strip().split(".")
    if not equals or not all(keys):
        raise ConfigError(
            _OVERRIDES, [f"expected section.key=value, but found {override!r}"]
        ) from None
    for key in keys[:-1]:
        branch = tree.setdefault(key, {})
        if branch is None:
            branch = tree[key] = {}
        if not isinstance(branch, dict):
            raise ConfigError(_OVERRIDES, [_unknown(name.strip())])
        tree = branch
    tree[keys[-1]] = _load(f"{_OVERRIDES} {override}", text)


def _problems(error: ValidationError) -> Iterator[str]:
    """One line for each setting that is wrong: a union of types makes several errors of one."""
    known = setting_names()
    lines: dict[str, list[str]] = {}
    for item in error.errors():
        place = ".".join(str(part) for part in item["loc"])
        if item["type"] == "extra_forbidden":
            lines.setdefault(place, [_unknown(place)])
            continue
        if item["type"] == "value_error":
            lines[place] = [f"{place}: {item['ctx']['error']}"]
            continue
        name = next((n for n in known if place == n or place.startswith(f"{n}.")), place)
        wanted = item["msg"].removeprefix("Input should be ").removeprefix("a valid ")
        found = f"{name}: found {_show(item['input'])}, expected {wanted}"
        lines[name] = [f"{lines[name][0]} or {wanted}"] if name in lines else [found]
    for (line,) in lines.values():
        yield line


def _unknown(place: str) -> str:
    known = setting_names()
    sections = get_close_matches(place, TrainConfig.model_fields, 1, 0.7)
    if sections and "." not in place:
        return f"{place}: there is no such setting; did you mean {sections[0]}?"
    last = place.rpartition(".")[2]
    near = [n for n in known if n.rpartition(".")[2] == last]
    near = near or get_close_matches(place, known, 1, 0.6)
    if not near:
        by_last = {n.rpartition(".")[2]: n for n in known}
        near = [by_last[n] for n in get_close_matches(last, by_last, 1, 0.5)]
    return f"{place}: there is no such setting" + (f"; did you mean {near[0]}?" if near else "")


def _show(value: object) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= 60 else f"{text[:60]}…"
