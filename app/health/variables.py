"""The SEGMILL_* variables of the environment: do they parse, and is each of them known?"""

import os
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from app.failures import refused_values
from app.health.findings import Finding, ok, problem, warning
from storage.settings import Settings

_PREFIX = "SEGMILL_"


def check_variables(root: str | None) -> tuple[list[Finding], Settings]:
    """Look at the variables.

    Args:
        root: A data root that the command line names; it needs no variable.

    Returns:
        What was found, and settings to go on with: defaults stand for what does not parse.
    """
    found: list[Finding] = []
    chosen: dict[str, Any] = {"root": root} if root else {}
    try:
        settings = Settings(**chosen)
    except ValidationError as error:
        found += [
            problem("settings", line, "correct the variable; segmill goes on without it here only")
            for line in refused_values(error)
        ]
        bad = {str(item["loc"][0]).lower() for item in error.errors()}
        defaults = {name: Settings.model_fields[name].default for name in bad}
        settings = Settings(**(defaults | chosen))
    names = {f"{_PREFIX}{name.upper()}" for name in Settings.model_fields}
    given = sorted(name for name in os.environ if name.upper().startswith(_PREFIX))
    for name in given:
        if name.upper() not in names:
            near = get_close_matches(name.removeprefix(_PREFIX).lower(), Settings.model_fields, 1)
            meant = f"did you mean {_PREFIX}{near[0].upper()}?" if near else "remove it"
            found.append(warning("settings", f"{name} is no setting and does nothing", meant))
    if "://" not in settings.root and not Path(settings.root).is_absolute():
        found.append(
            warning(
                "settings",
                f"the root is a relative path, {settings.root}",
                "set SEGMILL_ROOT to an absolute path or s3://bucket/prefix: workers need it",
            )
        )
    if not any(item.state == "problem" for item in found):
        known = [name for name in given if name.upper() in names]
        found.insert(0, ok("settings", f"set: {', '.join(known) or 'none, so the defaults'}"))
    return found, settings
