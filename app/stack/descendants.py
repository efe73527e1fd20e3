"""Which processes were started by a process, and by those in turn."""

import os
import signal
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

_PROC = Path("/proc")


class ProcessKey(NamedTuple):
    """A process; its start tells it from a later one that has the same id."""

    pid: int
    started: str


def descendants(*of: int) -> set[ProcessKey]:
    """All living processes below some, in whatever group or session they are.

    Args:
        *of: Ids of the processes at the top, which are left out.
    """
    parents = _table()
    below: dict[int, list[ProcessKey]] = {}
    for key, parent in parents.items():
        below.setdefault(parent, []).append(key)
    found: set[ProcessKey] = set()
    waiting = list(of)
    while waiting:
        for key in below.get(waiting.pop(), ()):
            if key not in found:
                found.add(key)
                waiting.append(key.pid)
    return found


def alive(keys: set[ProcessKey]) -> set[ProcessKey]:
    """Those of some processes that still run."""
    return keys & _table().keys()


def kill(keys: set[ProcessKey]) -> None:
    """End processes at once, if they still are what they were."""
    for key in alive(keys):
        with suppress(ProcessLookupError, PermissionError):
            os.kill(key.pid, signal.SIGKILL)


def _table() -> dict[ProcessKey, int]:
    """Every process with its parent's id; the dead that nobody has waited for are left out."""
    if not (_PROC / "self" / "stat").exists():
        return _table_of_ps()
    table = {}
    for entry in _PROC.iterdir():
        if not entry.name.isdigit():
            continue
        with suppress(OSError):
            # The name in parentheses may hold anything; what follows it are plain fields.
            fields = (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()
            if fields[0] not in "ZX":
                table[ProcessKey(int(entry.name), fields[19])] = int(fields[1])
    return table


def _table_of_ps() -> dict[ProcessKey, int]:
    listed = subprocess.run(
        ["ps", "-A", "-o", "pid=,ppid=,stat=,lstart="], capture_output=True, text=True, check=True
    ).stdout
    table = {}
    for line in listed.splitlines():
        pid, parent, state, started = line.split(None, 3)
        if not state.startswith("Z"):
            table[ProcessKey(int(pid), started)] = int(parent)
    return table
