"""COCO ids: integers, or short strings that are not numbers."""

import re
import reprlib

_DIGITS = re.compile(r"-?[0-9]{1,19}")
_MAX_CHARACTERS = 200

CocoId = int | str


class IdentifierError(ValueError):
    """A value that is no id.

    Attributes:
        too_large: Whether it is a number beyond 64 bits, where other tools would confuse ids.
    """

    def __init__(self, value: object, too_large: bool = False) -> None:
        self.value = value
        self.too_large = too_large
        super().__init__(f"not an id: {reprlib.repr(value)}")


def parse_identifier(value: object) -> tuple[CocoId, str | None]:
    """Read an id.

    Returns:
        The id, and the note that applies: `id.string` for digits in a string, `id.float` for a
        whole float, None for an id as it should be.

    Raises:
        IdentifierError: It is null, a boolean, a fraction, a container, an empty or overlong
            string, or does not fit a signed 64-bit integer.
    """
    if isinstance(value, str):
        if not value.strip() or len(value) > _MAX_CHARACTERS:
            raise IdentifierError(value)
        if not _DIGITS.fullmatch(value):
            return value, None
        return _within_64_bits(int(value)), "id.string"
    if isinstance(value, bool):
        raise IdentifierError(value)
    if isinstance(value, int):
        return _within_64_bits(value), None
    if isinstance(value, float) and value.is_integer():
        return _within_64_bits(int(value)), "id.float"
    raise IdentifierError(value)


def _within_64_bits(number: int) -> int:
    if not -(2**63) <= number < 2**63:
        raise IdentifierError(number, too_large=True)
    return number
