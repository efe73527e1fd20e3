"""Which images a process was at when it died, so that one that kills twice is set aside.

A killed process says nothing any more. So it leaves an object for each image it begins and takes it
away when the image is done: what is left of a dead process names the images that it died with.
"""

import os
import socket
import uuid
from collections import Counter
from collections.abc import Iterable
from datetime import datetime, timedelta

from storage.objects import ObjectStore

LONGEST = timedelta(hours=2)
"""Longest time for one image: of a process elsewhere, older attempts have ended with its death."""

_HOST = socket.gethostname().replace(".", "-").replace("/", "-")
_PROCESS = uuid.uuid4().hex[:8]


class Attempts:
    """The attempts of a stage at images, of this process and of others.

    Several live processes may attempt the same image, which says nothing against it.
    """

    def __init__(self, store: ObjectStore, stage: str, work: str) -> None:
        """Name what is attempted.

        Args:
            store: Where the attempts are kept, below `attempts/`.
            stage: Kind of work.
            work: What else decides the result, such as an id of the models; fit for a key.
        """
        self._store = store
        self._prefix = f"attempts/{stage}/{work}/"
        self._own = f"{_HOST}.{os.getpid()}.{_PROCESS}"

    def begin(self, image_id: str) -> None:
        """Say that this process begins with an image."""
        self._store.write(self._key(image_id), b"")

    def end(self, image_id: str) -> None:
        """Say that it has survived it."""
        self._store.delete(self._key(image_id))

    def deaths(self, image_ids: Iterable[str]) -> Counter[str]:
        """How many processes died while they were at each of these images.

        A process of this machine is dead when the system says so; one of another machine when its
        attempt is older than `LONGEST` by the clock of the store.
        """
        wanted = set(image_ids)
        found = []
        for info in self._store.list(self._prefix):
            image_id, _, process = info.key.removeprefix(self._prefix).partition(".")
            if image_id in wanted and process != self._own:
                found.append((image_id, process, info.modified_at))
        if not found:
            return Counter()
        now = self._now()
        return Counter(
            image_id
            for image_id, process, began_at in found
            if now - began_at > LONGEST or _is_dead(process)
        )

    def forget(self, image_ids: Iterable[str]) -> None:
        """Remove what is left of attempts at images that are finished."""
        finished = set(image_ids)
        for info in list(self._store.list(self._prefix)):
            if info.key.removeprefix(self._prefix).partition(".")[0] in finished:
                self._store.delete(info.key)

    def _key(self, image_id: str) -> str:
        return f"{self._prefix}{image_id}.{self._own}"

    def _now(self) -> datetime:
        key = self._key("clock")
        self._store.write(key, b"")
        written = next(iter(self._store.list(key)))
        self._store.delete(key)
        return written.modified_at


def _is_dead(process: str) -> bool:
    host, number, _ = process.split(".")
    if host != _HOST:
        return False
    if int(number) == os.getpid():
        return True  # its number was given to this process
    try:
        os.kill(int(number), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False
