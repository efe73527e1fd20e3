"""The units of work of a drop: taking it in, and refusing it as a whole."""

from dataclasses import astuple, dataclass

from storage.settings import Settings
from storage.units import unit_id


@dataclass(frozen=True)
class Limits:
    """The largest files that are taken in.

    Attributes:
        max_image_px: Largest number of pixels of an image.
        max_image_bytes: Largest size of an image file.
        max_json_bytes: Largest size of a COCO document.
    """

    max_image_px: int
    max_image_bytes: int
    max_json_bytes: int

    @classmethod
    def of(cls, settings: Settings) -> "Limits":
        """Those of the machine's settings."""
        return cls(settings.max_image_px, settings.max_image_bytes, settings.max_json_bytes)


def intake_unit(drop_id: str, dataset: str) -> str:
    """The unit of taking a drop in; other limits do not take it in again."""
    return unit_id("ingest", [drop_id], dataset=dataset)


def refusal_unit(drop_id: str, dataset: str, limits: Limits) -> str:
    """The unit of refusing a drop: with other limits it is looked at again."""
    return unit_id("reject", [drop_id], dataset=dataset, limits=astuple(limits))
