"""What a check found, and what to do about it."""

from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "warning", "problem"]


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        check: What was looked at, in a word or two.
        state: `ok`, `warning`: works, but perhaps not as meant, or `problem`: something fails.
        found: What is so.
        do: What to do about it; empty where nothing needs to be done.
    """

    check: str
    state: State
    found: str
    do: str = ""


def ok(check: str, found: str) -> Finding:
    """All is well."""
    return Finding(check, "ok", found)


def warning(check: str, found: str, do: str) -> Finding:
    """It works, but perhaps not as meant."""
    return Finding(check, "warning", found, do)


def problem(check: str, found: str, do: str) -> Finding:
    """Something that is needed fails."""
    return Finding(check, "problem", found, do)
