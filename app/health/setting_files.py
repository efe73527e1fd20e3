"""The files that the settings name: can they be read?"""

from collections.abc import Callable
from pathlib import Path

from app.health.findings import Finding, ok, problem, warning
from app.options import plural
from storage.settings import Settings


def check_files(settings: Settings) -> list[Finding]:
    """Read the files that the settings name: labels, rules, the gate's, those of training.

    Args:
        settings: Of the machine.
    """
    found = [_read("labels", "labels", _labels, settings.labels)]
    if settings.curation_rules and found[0].state == "ok":  # they name labels
        found.append(
            _read("rules", "curation_rules", _rules, settings.curation_rules, settings.labels)
        )
    if settings.gate:
        found.append(_read("gate", "gate", _gate, settings.gate))
    if settings.train_config:
        found.append(_read("training", "train_config", _training, settings.train_config))
    for name, value in _relative_paths(settings):
        found.append(
            warning(
                "settings",
                f"SEGMILL_{name.upper()} is a relative path, {value}",
                "give an absolute one: runs of workers begin in folders of their own",
            )
        )
    return found


def _read(check: str, setting: str, read: Callable[..., str], *values: str) -> Finding:
    from tasks.curation_rules import CurationRulesError
    from tasks.gate_rules import GateFileError
    from vision.clip import LabelSetError
    from vision.finetune.errors import ConfigError

    try:
        return ok(check, read(*values))
    except (LabelSetError, CurationRulesError, GateFileError, ConfigError, OSError) as error:
        return problem(check, str(error), f"correct SEGMILL_{setting.upper()}")


def _labels(name: str) -> str:
    from vision.clip import load_label_set

    return f"{name} ({load_label_set(name).label_set_id})"


def _rules(name: str, labels: str) -> str:
    from tasks.curation_rules import check_labels, load_rules
    from vision.clip import load_label_set

    rules = load_rules(name)
    check_labels(rules, load_label_set(labels).names)
    return f"{name} ({rules.reviewer})"


def _gate(name: str) -> str:
    from tasks.ask_gate import read_gate

    return f"{name} ({plural(len(read_gate.fn(name).rules), 'rule')})"


def _training(name: str) -> str:
    from tasks.plan_training import read_train_config

    return f"{name} (from {read_train_config.fn(name).model.base})"


def _relative_paths(settings: Settings) -> list[tuple[str, str]]:
    """Settings that name a file from the folder that one happens to be in."""
    models = {name: getattr(settings, name) for name in ("model", "clip_model")}
    named = [
        (name, value.removeprefix("file:"))
        for name, value in models.items()
        if value.startswith("file:")
    ]
    for name in ("labels", "curation_rules"):
        # Without such an ending it is one of those that come with the package.
        if (value := getattr(settings, name)) and Path(value).suffix in (".yaml", ".yml"):
            named.append((name, value))
    named += [
        (name, value) for name in ("gate", "train_config") if (value := getattr(settings, name))
    ]
    return [(name, value) for name, value in named if not Path(value).is_absolute()]
