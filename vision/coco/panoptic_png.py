"""Panoptic PNGs: every pixel names its segment, id = R + 256 G + 65536 B; 0 is void."""

from collections.abc import Sequence
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vision.coco.mask_files import MaskFileError
from vision.masks import rle_area, rle_to_mask
from vision.masks.runs import changes_to_runs, runs_to_rle

VOID = 0
MAX_ID = 256**3 - 1

Ids = NDArray[np.uint32]


def ids_to_png(ids: Ids) -> bytes:
    """Write segment ids as an RGB PNG.

    Args:
        ids: uint32 array of shape (height, width), each at most 2**24 - 1.

    Raises:
        ValueError: An id is larger.
    """
    if ids.max(initial=0) > MAX_ID:
        raise ValueError(f"a panoptic PNG holds ids up to {MAX_ID}, but there is {ids.max()}")
    rgb = np.stack([ids & 255, ids >> 8 & 255, ids >> 16], axis=-1).astype(np.uint8)
    buffer = BytesIO()
    Image.fromarray(rgb).save(buffer, "PNG")
    return buffer.getvalue()


def png_to_ids(data: bytes) -> Ids:
    """Read segment ids from an RGB PNG.

    Returns:
        uint32 array of shape (height, width).

    Raises:
        MaskFileError: The bytes are no intact PNG, or it is not RGB with 8 bits.
    """
    try:
        with Image.open(BytesIO(data), formats=("PNG",)) as image:
            if image.mode != "RGB":
                raise MaskFileError("panoptic.png_mode", image.mode)
            red, green, blue = np.moveaxis(np.asarray(image).astype(np.uint32), -1, 0)
            ids: Ids = red | green << 8 | blue << 16
            return ids
    except (MaskFileError, MemoryError):
        raise
    except Exception as error:  # damaged bytes make the decoder raise nearly anything
        raise MaskFileError("mask_png.corrupt", error) from error


def paint_masks(rles: Sequence[bytes], height: int, width: int) -> Ids:
    """Lay masks on each other, the smaller on top of the larger.

    Args:
        rles: Compressed COCO counts of the masks.
        height: Height of all masks, in pixels.
        width: Width of all masks, in pixels.

    Returns:
        uint32 array of shape (height, width): the place in `rles`, from 1, of the mask that shows.

    Raises:
        RleError: Some counts do not describe exactly h*w pixels.
    """
    ids: Ids = np.zeros((height, width), dtype=np.uint32)
    for place in sorted(range(len(rles)), key=lambda i: -rle_area(rles[i])):
        ids[rle_to_mask(rles[place], height, width)] = place + 1
    return ids


class SegmentMasks:
    """The masks of all ids of an image, each made when it is asked for."""

    def __init__(self, ids: Ids) -> None:
        """Find where in the image each id is.

        Args:
            ids: Array of shape (height, width).
        """
        columns = ids.T.ravel()
        changes = np.flatnonzero(columns[1:] != columns[:-1]) + 1
        starts = np.concatenate(([0], changes))
        values = columns[starts]
        self._total = columns.size
        # Each run of one id goes on to the next run's start. Runs of one id stand together.
        order = np.argsort(values, kind="stable")
        self._starts = starts[order]
        self._ends = np.concatenate((changes, [columns.size]))[order]
        present, first = np.unique(values[order], return_index=True)
        bounds = [*first.tolist(), len(values)]
        self._places = {
            int(value): (bounds[i], bounds[i + 1])
            for i, value in enumerate(present)
            if value != VOID
        }

    @property
    def ids(self) -> list[int]:
        """The ids that at least one pixel has, without void, in order."""
        return list(self._places)

    def rle(self, segment_id: int) -> bytes:
        """The mask of an id as canonical compressed COCO counts.

        Raises:
            KeyError: No pixel has this id.
        """
        first, last = self._places[segment_id]
        changes = np.concatenate((self._starts[first:last], self._ends[first:last]))
        return runs_to_rle(changes_to_runs(changes.astype(np.int64), self._total))
