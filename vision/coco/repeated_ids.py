"""Which ids of a list occur more than once, in eight bytes an id: a list may have millions."""

from array import array
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np

from vision.coco.identifiers import CocoId, IdentifierError, parse_identifier

_LARGEST = 2**63 - 1


@dataclass(frozen=True)
class RepeatedIds:
    """The ids that occur more than once; a container of ids.

    Attributes:
        numbers: Those that are integers.
        digests: 64-bit digests of those that are texts.
    """

    numbers: frozenset[int] = frozenset()
    digests: frozenset[int] = frozenset()

    def __contains__(self, coco_id: object) -> bool:
        """Whether an id occurs more than once."""
        if isinstance(coco_id, str):
            return bool(self.digests) and _digest(coco_id) in self.digests
        return coco_id in self.numbers


class IdCounter:
    """Counts ids as they pass."""

    def __init__(self) -> None:
        """Nothing was counted."""
        self._numbers = array("q")
        self._digests = array("q")

    def add(self, value: object) -> None:
        """Count a value, unless it is no id."""
        if type(value) is int and -_LARGEST <= value <= _LARGEST:
            self._numbers.append(value)  # nearly all are: a third of the time
            return
        try:
            coco_id, _ = parse_identifier(value)
        except IdentifierError:
            return
        self.add_id(coco_id)

    def add_id(self, coco_id: CocoId) -> None:
        """Count an id."""
        if isinstance(coco_id, int):
            self._numbers.append(coco_id)
        else:
            self._digests.append(_digest(coco_id))

    def repeated(self) -> RepeatedIds:
        """Those counted more than once."""
        return RepeatedIds(_repeated(self._numbers), _repeated(self._digests))


def repeated_ids(values: Iterable[object]) -> RepeatedIds:
    """The ids among values that occur more than once."""
    counter = IdCounter()
    for value in values:
        counter.add(value)
    return counter.repeated()


def _repeated(counted: "array[int]") -> frozenset[int]:
    values, times = np.unique(np.frombuffer(counted, np.int64), return_counts=True)
    return frozenset(values[times > 1].tolist())


def _digest(text: str) -> int:
    data = text.encode("utf-8", "surrogatepass")
    return int.from_bytes(blake2b(data, digest_size=8).digest(), "little", signed=True)
