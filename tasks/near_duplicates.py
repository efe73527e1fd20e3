"""Groups of images that look alike, so that they are drawn together when models are compared."""

from collections.abc import Mapping

import numpy as np

from tasks.drop_images import NEAR_DUPLICATE_BITS


def near_duplicate_groups(hashes: Mapping[str, str | None]) -> dict[str, str]:
    """Put images together whose hashes differ in few bits, as ingesting does for splits.

    Args:
        hashes: By image its 64-bit difference hash, hexadecimal; None where it is not known.

    Returns:
        The group of each image that is like another one: the smallest id of its images. Two images
        may be in one group because both are like a third.
    """
    ids = sorted(image_id for image_id, looks in hashes.items() if looks)
    values = np.array([int(hashes[image_id] or "", 16) for image_id in ids], np.uint64)
    group = np.arange(len(ids))
    for place, value in enumerate(values):
        alike = np.flatnonzero(np.bitwise_count(values[: place + 1] ^ value) <= NEAR_DUPLICATE_BITS)
        joined = np.unique(group[alike])
        if len(joined) > 1:
            group[np.isin(group, joined)] = joined[0]
    sizes = np.bincount(group, minlength=len(ids)) if ids else group
    return {
        image_id: ids[first]
        for image_id, first in zip(ids, group.tolist(), strict=True)
        if sizes[first] > 1
    }
