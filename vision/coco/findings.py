"""What was found wrong with an input: where, which rule, and what was expected."""

import reprlib
from dataclasses import dataclass, replace

from vision.coco.rules import RULES, Verdict

MAX_VALUE_CHARACTERS = 80

_short = reprlib.Repr()
_short.maxstring = _short.maxother = _short.maxlong = MAX_VALUE_CHARACTERS
_short.maxlist = _short.maxtuple = _short.maxdict = 8


@dataclass(frozen=True)
class Finding:
    """One broken rule.

    Attributes:
        file: The file, as named in the drop.
        pointer: JSON pointer inside it, such as `/annotations/12/segmentation/0`; empty for the
            whole file.
        rule: Name of the rule, such as `polygon.odd`; see `vision.coco.rules`.
        value: What was there, escaped, at most 80 characters.
        expected: What would have been right.
        verdict: What happens to the input.
    """

    file: str
    pointer: str
    rule: str
    value: str
    expected: str
    verdict: Verdict


def make_finding(file: str, pointer: str, rule: str, value: object) -> Finding:
    """Describe a broken rule, with the verdict and expectation of `RULES`.

    Raises:
        KeyError: There is no such rule.
    """
    verdict, expected = RULES[rule]
    return Finding(file, pointer, rule, show(value), expected, verdict)


def show(value: object) -> str:
    """Any value as escaped text of at most 80 characters.

    Control, bidirectional and surrogate characters are escaped as in Python literals.
    """
    text = value if isinstance(value, str) else _short.repr(value)
    text = text if len(text) <= MAX_VALUE_CHARACTERS else text[:MAX_VALUE_CHARACTERS] + "…"
    text = "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
    if len(text) <= MAX_VALUE_CHARACTERS:
        return text
    return text[: MAX_VALUE_CHARACTERS - 1] + "…"


class FindingLog:
    """Collects the findings of one file; equal notes are counted instead of repeated."""

    def __init__(self, file: str) -> None:
        self._file = file
        self._findings: list[Finding] = []
        self._notes: dict[str, tuple[int, int]] = {}  # rule -> (place in _findings, times)

    def add(self, rule: str, pointer: str, value: object) -> None:
        """Record a broken rule; see `make_finding`."""
        if RULES[rule].verdict == "note":
            if rule in self._notes:
                place, times = self._notes[rule]
                self._notes[rule] = (place, times + 1)
                return
            self._notes[rule] = (len(self._findings), 1)
        self._findings.append(make_finding(self._file, pointer, rule, value))

    def take_grave(self) -> list[Finding]:
        """What was recorded since this was last asked, without the notes, and forget it."""
        found = [finding for finding in self._findings if finding.verdict != "note"]
        self._findings, self._notes = [], {}
        return found

    def findings(self) -> list[Finding]:
        """Everything recorded, in order; a repeated note says how often it applies."""
        result = list(self._findings)
        for place, times in self._notes.values():
            if times > 1:
                suffix = f" (and {times - 1} more)"
                note = result[place]
                value = note.value[: MAX_VALUE_CHARACTERS - len(suffix)] + suffix
                result[place] = replace(note, value=value)
        return result
