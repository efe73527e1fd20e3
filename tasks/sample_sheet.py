"""A picture of a sample of segments, so that people can look at them."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import cv2

from storage.objects import ObjectNotFoundError, ObjectStore
from tasks.report.data import Progress
from tasks.report.gather import image_key
from tasks.review_sample import SampledSegment
from vision.draw.colors import label_colors
from vision.draw.contact_sheet import Tile, contact_sheet, segment_tile
from vision.images import DEFAULT_MAX_PX, ImageError, decode_image

MOST_TILES = 400
STAGE = "sheet"


class TooManyTilesError(ValueError):
    """More segments than go on one sheet."""

    def __init__(self, count: int) -> None:
        super().__init__(f"a sheet has {MOST_TILES} segments at most, but {count:,} are chosen")


def write_sheet(
    store: ObjectStore,
    segments: Sequence[SampledSegment],
    path: Path,
    *,
    columns: int = 6,
    max_px: int = DEFAULT_MAX_PX,
    progress: Progress | None = None,
) -> int:
    """Write a PNG with each segment's number, label, second label and margin.

    Args:
        store: The objects of the root.
        segments: At least one.
        path: Where to write.
        columns: Segments in a row.
        max_px: Images with more pixels are not shown.
        progress: Told after each image.

    Returns:
        How many segments are not shown, because their images are gone or broken.

    Raises:
        TooManyTilesError: If there are too many of them.
        OSError: If it cannot be written.
    """
    if len(segments) > MOST_TILES:
        raise TooManyTilesError(len(segments))
    colors = label_colors(segment.label for segment in segments)
    tiles: dict[int, Tile] = {}
    by_image: dict[str, list[SampledSegment]] = defaultdict(list)
    for segment in segments:
        by_image[segment.image_id].append(segment)
    for number, of_image in enumerate(by_image.values(), start=1):
        # Each image is read once, and one is in memory at a time.
        try:
            key = image_key(of_image[0].image_id, of_image[0].uri)
            rgb = decode_image(store.read(key), max_px).rgb
        except (ObjectNotFoundError, ImageError):
            rgb = None
        for segment in of_image:
            color = colors[segment.label]
            picture = None if rgb is None else segment_tile(rgb, segment.rle, color)
            tiles[segment.number] = Tile(picture, _lines(segment))
        if progress is not None:
            progress(STAGE, number, len(by_image), of_image[0].file_name)
    sheet = contact_sheet([tiles[segment.number] for segment in segments], columns)
    _, data = cv2.imencode(".png", sheet[..., ::-1])
    path.write_bytes(data.tobytes())
    return sum(tile.picture is None for tile in tiles.values())


def _lines(segment: SampledSegment) -> tuple[str, str]:
    margin = "" if segment.margin is None else f" {segment.margin:.2f}"
    second = f" / {segment.second_label}" if segment.second_label else ""
    return f"{segment.number}  {segment.label}{second}{margin}", segment.segment_id[:12]
