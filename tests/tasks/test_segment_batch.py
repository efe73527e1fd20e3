import numpy as np

from storage.session import connect
from tasks import segment_batch as module
from tasks.models import LoadedModels, ModelChoice
from tasks.segment_batch import PendingImage, segment_batch
from tests.fakes import ColorLabeller
from vision.masks import mask_to_rle
from vision.segmenter import Mask

CHOICE = ModelChoice("fake", "fake-1", "fake", "sam2", "params-2", "comic", "comic-2")


class NestedSegmenter:
    """Cuts an image into a small square, a larger one around it, and one apart."""

    def segment(self, rgb):
        return [
            self._square(rgb, 10, 5, parent=1),
            self._square(rgb, 5, 20),
            self._square(rgb, 40, 9),
        ]

    def _square(self, rgb, start, side, parent=None):
        pixels = np.zeros(rgb.shape[:2], np.bool_)
        pixels[start : start + side, start : start + side] = True
        box = (float(start), float(start), float(side), float(side))
        return Mask(mask_to_rle(pixels), side * side, box, 0.9, 0.9, (0.0, 0.0), box, parent)


def test_a_segment_names_the_one_that_it_is_a_part_of(filled, monkeypatch):
    models = LoadedModels(NestedSegmenter(), ColorLabeller())
    monkeypatch.setattr(module, "load_models", lambda choice, device: models)
    with connect(filled.lake) as session:
        rows = session.execute(
            "SELECT image_id, uri, file_name, drop_id, dataset FROM images WHERE dataset = 'comics'"
        ).fetchall()
    batch = [PendingImage(*row) for row in rows]

    segment_batch.fn(
        batch, root=filled.root, choice=CHOICE, run_id="r", device="cpu", max_image_px=10**6
    )

    with connect(filled.lake) as session:
        pairs = session.execute(
            "SELECT part.image_id, part.area_px, whole.area_px FROM segments AS part "
            "LEFT JOIN segments AS whole ON part.parent_id = whole.segment_id "
            "AND part.image_id = whole.image_id WHERE part.params_id = 'params-2' ORDER BY ALL"
        ).fetchall()
    assert pairs == [
        (image.image_id, part, whole)
        for image in sorted(batch, key=lambda image: image.image_id)
        for part, whole in ((25, 400), (81, None), (400, None))
    ]
