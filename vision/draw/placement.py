"""Where to write the names of objects so that they hide neither each other nor small objects."""

from collections.abc import Sequence
from typing import NamedTuple

from vision.draw.contours import Box


class Wanted(NamedTuple):
    """An object that wants its name written.

    Attributes:
        box: around the object.
        sizes: (width, height) of the texts that would do, the best first. An object without any
            gets no name and may be written on.
    """

    box: Box
    sizes: tuple[tuple[float, float], ...]


class Placed(NamedTuple):
    """Where a text goes, and which of the wanted sizes it is."""

    box: Box
    choice: int


# A name may hide this share of its own area of other objects' boxes before it is left out.
_MAX_HIDDEN_SHARE = 0.35
# A name much wider than its object says too little about which object it belongs to.
_MAX_WIDTH_RATIO = 1.5
# Objects this many times larger than a name do not mind being written on.
_LARGE_OBJECT_RATIO = 12.0


def place_names(
    wanted: Sequence[Wanted], width: float, height: float, gap: float = 1.0
) -> list[Placed | None]:
    """Find a free spot for each name.

    Args:
        wanted: the objects; earlier ones choose first.
        width: of the picture, in the unit of the boxes.
        height: of the picture.
        gap: least distance between two names.

    Returns:
        One entry per object: its spot, fully inside the picture and overlapping no other name,
        or None where a name would do more harm than good.
    """
    taken: list[Box] = []
    result: list[Placed | None] = []
    for index, item in enumerate(wanted):
        others = [other.box for i, other in enumerate(wanted) if i != index and other.sizes]
        spot = _best_spot(item, others, taken, width, height, gap)
        result.append(spot)
        if spot is not None:
            taken.append(spot.box)
    return result


def overlap_area(first: Box, second: Box) -> float:
    """Area shared by two boxes."""
    across = min(first.x + first.width, second.x + second.width) - max(first.x, second.x)
    down = min(first.y + first.height, second.y + second.height) - max(first.y, second.y)
    return across * down if across > 0 and down > 0 else 0.0


def _best_spot(
    item: Wanted,
    others: Sequence[Box],
    taken: Sequence[Box],
    width: float,
    height: float,
    gap: float,
) -> Placed | None:
    for choice, (text_width, text_height) in enumerate(item.sizes):
        if text_width > item.box.width * _MAX_WIDTH_RATIO:
            continue
        best: tuple[float, Box] | None = None
        for preference, spot in enumerate(_spots(item.box, text_width, text_height)):
            inside = (
                spot.x >= 0
                and spot.y >= 0
                and spot.x + spot.width <= width
                and spot.y + spot.height <= height
            )
            if not inside or any(overlap_area(_grown(spot, gap), box) > 0 for box in taken):
                continue
            limit = _LARGE_OBJECT_RATIO * spot.area
            small = (box for box in (item.box, *others) if box.area < limit)
            hidden = sum(overlap_area(spot, box) for box in small) / spot.area
            cost = hidden + preference * 0.02
            if hidden <= _MAX_HIDDEN_SHARE and (best is None or cost < best[0]):
                best = (cost, spot)
        if best is not None:
            return Placed(best[1], choice)
    return None


def _spots(box: Box, width: float, height: float) -> list[Box]:
    """Candidate places for a text, the most natural first."""
    right = box.x + box.width - width
    bottom = box.y + box.height
    middle = box.x + (box.width - width) / 2
    return [
        Box(box.x, box.y, width, height),
        Box(box.x, box.y - height, width, height),
        Box(right, box.y, width, height),
        Box(right, box.y - height, width, height),
        Box(middle, box.y - height, width, height),
        Box(box.x, bottom - height, width, height),
        Box(right, bottom - height, width, height),
        Box(box.x, bottom, width, height),
        Box(middle, bottom, width, height),
        Box(right, bottom, width, height),
        Box(box.x + box.width, box.y, width, height),
        Box(box.x - width, box.y, width, height),
    ]


def _grown(box: Box, by: float) -> Box:
    return Box(box.x - by, box.y - by, box.width + 2 * by, box.height + 2 * by)
