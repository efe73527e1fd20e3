"""The models that the settings name: are they there?"""

from app.health.findings import Finding, ok, problem, warning
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
    if settings.preset not in PRESETS:
        known = ", ".join(PRESETS)
        found.append(
            problem(
                "preset", f"there is no preset {settings.preset!r}", f"set SEGMILL_PRESET: {known}"
            )
        )
    return found


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
