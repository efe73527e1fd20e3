"""Child processes whose lines are shown with their name, and which end together."""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from app.stack.descendants import ProcessKey, alive, descendants, kill

_POLL_SECONDS = 0.2
# Whose parent is dead is found by nobody, so what is below a child is looked up while it lives.
_NOTE_SECONDS = 2.0
# A process that waits for a disk or a driver may not even heed SIGKILL.
_KILL_SECONDS = 10.0


class ChildDiedError(RuntimeError):
    """A child ended that should have gone on, or failed.

    Attributes:
        name: Its name.
    """

    def __init__(self, name: str, code: int) -> None:
        self.name = name
        how = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
        super().__init__(f"{name} {how}; its last lines are above")


class EndAskedError(Exception):
    """Somebody asked for the end."""


@dataclass(frozen=True)
class Child:
    """A process in a session of its own, so that a Ctrl-C in the terminal reaches us alone."""

    name: str
    process: "subprocess.Popen[bytes]"
    reader: threading.Thread


class Children:
    """The child processes of one command."""

    def __init__(self, show: Callable[[str, str], None]) -> None:
        """Start with none.

        Args:
            show: Told each line that a child writes, after the child's name.
        """
        self._show = show
        self._children: list[Child] = []
        self._seen: set[ProcessKey] = set()
        self._noted_at = 0.0
        self._end_asked = False

    def ask_for_end(self) -> None:
        """Make the next `check` raise; what a signal handler may call at any moment.

        Raised by the handler itself, an error could come while a process is being started, which
        nobody would then stop, or into code that takes it for a failure of its own.
        """
        self._end_asked = True

    def start(
        self, name: str, command: Sequence[str], environment: Mapping[str, str], folder: Path
    ) -> Child:
        """Start a process.

        Args:
            name: What its lines begin with.
            command: Program and arguments.
            environment: All of its variables.
            folder: Where it runs.
        """
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        assert process.stdout is not None
        reader = threading.Thread(target=self._read, args=(name, process.stdout), daemon=True)
        child = Child(name, process, reader)
        self._children.append(child)
        reader.start()
        return child

    def finish(self, child: Child, seconds: float) -> None:
        """Wait for a child that has something to do and then ends.

        Raises:
            ChildDiedError: If it, or any other, fails meanwhile.
            EndAskedError: If the end is asked for.
            TimeoutError: If it takes longer.
        """
        deadline = time.monotonic() + seconds
        while child.process.poll() is None:
            self.check(child)
            if time.monotonic() > deadline:
                raise TimeoutError(f"{child.name} took longer than {seconds:.0f} s")
            time.sleep(_POLL_SECONDS)
        self._children.remove(child)
        child.reader.join(2)
        if child.process.returncode:
            raise ChildDiedError(child.name, child.process.returncode)

    def check(self, besides: Child | None = None) -> None:
        """Make sure that all run and shall go on.

        Raises:
            ChildDiedError: If one does not.
            EndAskedError: If the end was asked for.
        """
        if self._end_asked:
            raise EndAskedError
        if time.monotonic() - self._noted_at > _NOTE_SECONDS:
            self._note()
        for child in self._children:
            code = child.process.poll()
            if code is not None and child is not besides:
                child.reader.join(2)
                raise ChildDiedError(child.name, code)

    def stop(self, seconds: float) -> list[int]:
        """End all, the last started first, and whatever they started.

        Args:
            seconds: How long each may take to end by itself; then it is killed.

        Returns:
            Ids of processes that run still, though they were killed.
        """
        for child in reversed(self._children):
            self._note()
            with suppress(ProcessLookupError):
                child.process.send_signal(signal.SIGTERM)
            deadline = time.monotonic() + seconds
            while child.process.poll() is None and time.monotonic() < deadline:
                self._note()
                time.sleep(_POLL_SECONDS)
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(child.process.pid, signal.SIGKILL)
        # What a worker had started may be in a session of its own.
        deadline = time.monotonic() + _KILL_SECONDS
        while (left := self._left()) and time.monotonic() < deadline:
            # While others ended these may have started more.
            self._seen |= descendants(*(key.pid for key in left))
            kill(left)
            time.sleep(_POLL_SECONDS)
        for child in self._children:
            child.reader.join(2)
        self._children.clear()
        return sorted(key.pid for key in left)

    def _note(self) -> None:
        self._seen |= descendants(*self._running())
        self._noted_at = time.monotonic()

    def _left(self) -> set[ProcessKey]:
        running = self._running()
        return alive(self._seen) | {key for key in descendants(os.getpid()) if key.pid in running}

    def _running(self) -> set[int]:
        # The id of one that ended may be that of a stranger by now.
        return {child.process.pid for child in self._children if child.process.poll() is None}

    def _read(self, name: str, output: IO[bytes]) -> None:
        with output:
            for line in output:
                self._show(name, line.decode(errors="replace").rstrip())
