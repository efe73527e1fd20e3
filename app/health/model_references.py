"""The models, labels and rules that the settings name: are they there?"""

from pathlib import Path

from app.health.findings import Finding, ok, problem, warning
from app.options import plural
from storage.settings import Settings
from tasks.live_model import PROMOTED, REGISTERED, resolve_reference
from vision.models import ModelReferenceError


def check_models(settings: Settings, store_works: bool = True) -> list[Finding]:
    """Resolve the references of the settings; nothing is fetched.

    Args:
        settings: Of the machine.
        store_works: Whether the root can be read, so that it can be asked for its models.
    """
    from tasks.models import DEMO_LABELLER_FILE
    from vision.models import resolve_model
    from vision.sam2 import PRESETS

    found = []
    for name, reference, demo_file in (
        ("MODEL", settings.model, "sam2.safetensors"),
        ("CLIP_MODEL", settings.clip_model, DEMO_LABELLER_FILE),
    ):
        check = "segmenter" if name == "MODEL" else "labeller"
        if name == "MODEL" and (reference == PROMOTED or reference.startswith(REGISTERED)):
            if store_works:
                found.append(_of_root(reference, settings.root))
            else:
                do = "see what is said of the store"
                found.append(warning(check, f"{reference} of {settings.root} is not known", do))
            continue
        if reference.startswith("hub:"):
            do = f"segmill models pull {reference} fetches it before the night does"
            found.append(warning(check, f"{reference} is fetched when it is first used", do))
            continue
        try:
            source = resolve_model(reference, demo_file)
        except (ModelReferenceError, OSError) as error:
            found.append(problem(check, str(error), f"correct SEGMILL_{name}"))
        else:
            found.append(ok(check, f"{source.model_id} ({source.path})"))
    found += check_files(settings)
    found += [
        warning(
            "settings",
            f"SEGMILL_{name} is a relative path, {value}",
            "give an absolute one: runs of workers begin in folders of their own",
        )
        for name, value in _relative_paths(settings)
    ]
    if settings.preset not in PRESETS:
        known = ", ".join(PRESETS)
        found.append(
            problem(
                "preset", f"there is no preset {settings.preset!r}", f"set SEGMILL_PRESET: {known}"
            )
        )
    return found


def check_files(settings: Settings) -> list[Finding]:
    """Read the files that the settings name: labels, rules, the gate's, those of training.

    Args:
        settings: Of the machine.
    """
    from tasks.ask_gate import read_gate
    from tasks.curation_rules import CurationRulesError, check_labels, load_rules
    from tasks.gate_rules import GateFileError
    from tasks.plan_training import read_train_config
    from vision.clip import LabelSetError, load_label_set
    from vision.finetune.errors import ConfigError

    found = []
    try:
        labels = load_label_set(settings.labels)
    except (LabelSetError, OSError) as error:
        found.append(problem("labels", str(error), "correct SEGMILL_LABELS"))
    else:
        found.append(ok("labels", f"{settings.labels} ({labels.label_set_id})"))
        if settings.curation_rules:
            try:
                rules = load_rules(settings.curation_rules)
                check_labels(rules, labels.names)
            except CurationRulesError as error:
                found.append(problem("rules", str(error), "correct SEGMILL_CURATION_RULES"))
            else:
                found.append(ok("rules", f"{settings.curation_rules} ({rules.reviewer})"))
    if settings.gate:
        try:
            gate = read_gate.fn(settings.gate)
        except GateFileError as error:
            found.append(problem("gate", str(error), "correct SEGMILL_GATE"))
        else:
            found.append(ok("gate", f"{settings.gate} ({plural(len(gate.rules), 'rule')})"))
    if settings.train_config:
        try:
            config = read_train_config.fn(settings.train_config)
        except (ConfigError, OSError) as error:
            found.append(problem("training", str(error), "correct SEGMILL_TRAIN_CONFIG"))
        else:
            found.append(ok("training", f"{settings.train_config} (from {config.model.base})"))
    return found


def _relative_paths(settings: Settings) -> list[tuple[str, str]]:
    """Settings that name a file from the folder that one happens to be in."""
    models = ("model", "clip_model")
    files = ("labels", "curation_rules", "gate", "train_config")
    named = [(name, getattr(settings, name).removeprefix("file:")) for name in models
             if getattr(settings, name).startswith("file:")]  # fmt: skip
    # Without an ending it is one of those that come with the package.
    named += [(name, value) for name in files
              if (value := getattr(settings, name)) and Path(value).suffix]  # fmt: skip
    return [(name.upper(), value) for name, value in named if not Path(value).is_absolute()]


def _of_root(reference: str, root: str) -> Finding:
    """The live model, or a registered one: its manifest is read, and its files are there."""
    from botocore.exceptions import BotoCoreError, ClientError
    from deltalake.exceptions import DeltaError

    from storage.errors import StorageError

    expected = (ModelReferenceError, StorageError, OSError, DeltaError, BotoCoreError, ClientError)
    try:
        found = resolve_reference(reference, root)
    except expected as error:
        return problem(
            "segmenter", f"{reference}: {error}", "segmill models list says what there is"
        )
    return ok("segmenter", f"{found.model_id} ({reference} of {root})")
