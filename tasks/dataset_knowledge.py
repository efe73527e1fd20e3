"""What a dataset holds already, so far as a drop that comes to it depends on it."""

from collections.abc import Mapping
from typing import NamedTuple

from storage.lake import Lake
from storage.session import connect
from tasks.drop_annotations import MAIN_DOCUMENT, DropContent
from tasks.drop_images import SplitDrawer
from vision.coco import Finding, make_finding

_CATEGORIES = "SELECT DISTINCT category FROM annotations WHERE dataset = $dataset"
_IMAGES = "SELECT image_id, split, perceptual_hash FROM images WHERE dataset = $dataset"


class KnownImage(NamedTuple):
    """An image that the dataset holds."""

    split: str
    perceptual_hash: str | None


class DatasetKnowledge:
    """The categories and images of a dataset, and of the drops that are just being added to it."""

    def __init__(self, lake: Lake, dataset: str) -> None:
        """Read what is committed."""
        scope = {"dataset": dataset}
        with connect(lake) as session:
            categories = session.execute(_CATEGORIES, scope).fetchall()
            images = session.execute(_IMAGES, scope).fetchall()
        self._categories = {name for (name,) in categories}
        self._images = {image_id: KnownImage(*rest) for image_id, *rest in images}
        self._drawer = SplitDrawer()
        for image in self._images.values():
            if image.perceptual_hash:
                self._drawer.remember(image.perceptual_hash, image.split)

    def new_categories(self, content: DropContent) -> list[Finding]:
        """A note where a drop brings categories that a dataset with annotations has not seen yet.

        A renamed category looks just so, and is then counted apart from the old one.
        """
        new = sorted({found.category for _, found in content.annotations} - self._categories)
        if not self._categories or not new:
            return []
        return [make_finding(MAIN_DOCUMENT, "/categories", "category.new", ", ".join(new))]

    def splits(self, content: DropContent) -> dict[str, str]:
        """The split of each image: the known one, the one its document says, else one drawn."""
        images = {image.stored.image_id: image for image in content.images.values()}
        splits = {
            image_id: self._images[image_id].split if image_id in self._images else image.split
            for image_id, image in images.items()
        }
        for image_id, split in splits.items():
            if split:
                self._drawer.remember(images[image_id].stored.perceptual_hash, split)
        return {
            image_id: split or self._drawer.draw(images[image_id].stored.perceptual_hash)
            for image_id, split in splits.items()
        }

    def add(self, content: DropContent, splits: Mapping[str, str]) -> int:
        """Take a drop to be part of the dataset; returns how many of its images are new to it.

        Args:
            content: Of the drop.
            splits: The split of each of its images.
        """
        self._categories |= {found.category for _, found in content.annotations}
        found = {
            image.stored.image_id: KnownImage(
                splits[image.stored.image_id], image.stored.perceptual_hash
            )
            for image in content.images.values()
        }
        new = found.keys() - self._images.keys()
        self._images |= {image_id: found[image_id] for image_id in new}
        return len(new)
