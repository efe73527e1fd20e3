"""The models that the settings name: are they there?"""

from app.health.findings import Finding, ok, problem, warning
from storage.settings import Settings


def check_models(settings: Settings) -> list[Finding]:
    """Resolve the references of the settings; nothing is fetched.

    Args:
        settings: Of the machine.
    """
    from tasks.models import DEMO_LABELLER_FILE, FIRST_LIVE_MODEL, PROMOTED
    from vision.clip import LabelSetError, load_label_set
    from vision.models import ModelReferenceError, resolve_model
    from vision.sam2 import PRESETS

    found = []
    segmenter = FIRST_LIVE_MODEL if settings.model == PROMOTED else settings.model
    for name, reference, demo_file in (
        ("MODEL", segmenter, "sam2.safetensors"),
        ("CLIP_MODEL", settings.clip_model, DEMO_LABELLER_FILE),
    ):
        check = "segmenter" if name == "MODEL" else "labeller"
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
    try:
        labels = load_label_set(settings.labels)
    except (LabelSetError, OSError) as error:
        found.append(problem("labels", str(error), "correct SEGMILL_LABELS"))
    else:
        found.append(ok("labels", f"{settings.labels} ({labels.label_set_id})"))
    if settings.preset not in PRESETS:
        known = ", ".join(PRESETS)
        found.append(
            problem(
                "preset", f"there is no preset {settings.preset!r}", f"set SEGMILL_PRESET: {known}"
            )
        )
    return found
