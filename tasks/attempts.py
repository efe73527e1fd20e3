"""At which images processes died, so that an image that kills them is set aside.

A killed process says nothing any more. So it leaves an object for each group of images that it
begins, and takes it away when they are done: what a dead process leaves names the images it died
with. Only where that is a single image is it known which one it was; the others are suspects.
"""

import json
import os
import socket
import uuid
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from storage.errors import ObjectNotFoundError
from storage.objects import ObjectStore

LONGEST = timedelta(hours=2)
"""An attempt of another machine that is older has ended with the death of its process."""

_HOST = socket.gethostname().replace(".", "-").replace("/", "-")
_PROCESS = uuid.uuid4().hex[:8]


@dataclass(frozen=True)
class Past:
    """What other processes left.

    Attributes:
        suspects: Images that a process, dead or not, had begun and not ended.
        deaths: How many processes died while an image was all that they were at.
    """

    suspects: frozenset[str]
    deaths: Counter[str]


class Attempts:
    """The attempts at the images of one unit of work, of this process and of others."""

    def __init__(self, store: ObjectStore, unit_id: str) -> None:
        """Use the attempts of a unit, kept below `attempts/`."""
        self._store = store
        self._prefix = f"attempts/{unit_id}/"
        self._process = f"{_HOST}.{os.getpid()}.{_PROCESS}"

    def begin(self, image_ids: Sequence[str]) -> str:
        """Say that this process begins with some images; returns what `end` takes."""
        key = f"{self._prefix}{self._process}.{uuid.uuid4().hex[:8]}"
        self._store.write(key, json.dumps(list(image_ids)).encode())
        return key

    def end(self, attempt: str) -> None:
        """Say that this process has survived them."""
        self._store.delete(attempt)

    def past(self) -> Past:
        """What other processes left of this unit.

        A process of this machine is dead when the system says so; one of another machine when its
        attempt is older than `LONGEST` by the clock of the store.
        """
        left: dict[str, list[tuple[list[str], datetime]]] = defaultdict(list)
        for info in list(self._store.list(self._prefix)):
            process = info.key.removeprefix(self._prefix).rpartition(".")[0]
            if process == self._process:
                continue
            try:
                images = json.loads(self._store.read(info.key))
            except ObjectNotFoundError:
                continue  # it has survived them since
            left[process].append((images, info.modified_at))
        suspects = {image for groups in left.values() for images, _ in groups for image in images}
        deaths: Counter[str] = Counter()
        now = self._now() if left else None
        for process, groups in left.items():
            (images, began_at), *others = groups
            if not others and len(images) == 1 and now and _is_dead(process, now - began_at):
                deaths[images[0]] += 1
        return Past(frozenset(suspects), deaths)

    def forget(self) -> None:
        """Remove what is left of the unit, which is finished."""
        for info in list(self._store.list(self._prefix)):
            self._store.delete(info.key)

    def _now(self) -> datetime:
        key = self.begin([])
        written = next(iter(self._store.list(key)))
        self.end(key)
        return written.modified_at


def _is_dead(process: str, age: timedelta) -> bool:
    host, number, _ = process.split(".")
    if host != _HOST:
        return age > LONGEST
    if int(number) == os.getpid():
        return True  # its number was given to this process
    try:
        os.kill(int(number), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False
