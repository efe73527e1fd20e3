"""Statistics merged from partials equal those of all masks, night after night."""

import numpy as np
import pytest

from flows.nightly import run_nightly
from flows.requests import NightlyRequest
from flows.running import InProcess
from storage.lake import Lake
from storage.session import connect
from storage.settings import Settings
from tasks import segment_batch
from tasks.models import LoadedModels
from tests.drops import BLUE, RED, write_box_drop
from tests.fakes import ColorLabeller, ComponentSegmenter
from vision.masks import mask_to_rle, rle_to_mask
from vision.segmenter import Mask


class OverlappingSegmenter(ComponentSegmenter):
    """Cuts what is not white, and a square about each of it that overlaps its neighbours."""

    def segment(self, rgb):
        masks = super().segment(rgb)
        return masks + [self._around(rgb, mask) for mask in masks]

    def _around(self, rgb, mask):
        pixels = np.zeros(rgb.shape[:2], np.bool_)
        x, y, width, height = (int(value) for value in mask.bbox_xywh)
        pixels[max(y - 9, 0) : y + height + 9, max(x - 9, 0) : x + width + 9] = True
        return Mask(
            mask_to_rle(pixels),
            int(pixels.sum()),
            mask.bbox_xywh,
            0.9,
            0.9,
            mask.point_xy,
            (0,) * 4,
        )


@pytest.fixture
def night(tmp_path, monkeypatch):
    monkeypatch.setattr(
        segment_batch,
        "load_models",
        lambda choice, compute: LoadedModels(OverlappingSegmenter(), ColorLabeller()),
    )
    (tmp_path / "model.safetensors").write_bytes(b"model")
    model = f"file:{tmp_path / 'model.safetensors'}"
    settings = Settings(root=str(tmp_path / "root"), batch_images=2)

    def run(number):
        boxes = [
            [((5 + 3 * n, 6, 8, 9), RED), ((25, 20 + n, 7, 7), BLUE), ((36, 22, 6, 6), RED)]
            for n in range(number, number + 3)
        ]
        write_box_drop(tmp_path / "root" / "inbox" / f"night-{number}", boxes)
        request = NightlyRequest(dataset="boxes", model=model, clip_model=model, report=False)
        run_nightly(request, settings, InProcess())
        return Lake.open(settings.root)

    return run


def merged(lake):
    with connect(lake) as session:
        return session.execute(
            "SELECT label, count, images, total_area_px, union_area_px FROM label_stats "
            "QUALIFY 1 = rank() OVER (ORDER BY computed_from DESC) ORDER BY ALL"
        ).fetchall()


def recomputed(lake):
    """The same from every mask, in numpy."""
    with connect(lake) as session:
        rows = session.execute(
            "SELECT label, image_id, width_px, height_px, rle FROM segments JOIN images "
            "USING (image_id) ORDER BY ALL"
        ).fetchall()
    found = {}
    for label, image_id, width, height, rle in rows:
        found.setdefault(label, {}).setdefault(image_id, []).append(
            rle_to_mask(rle.encode(), height, width)
        )
    return sorted(
        (
            label,
            sum(len(masks) for masks in images.values()),
            len(images),
            sum(int(mask.sum()) for masks in images.values() for mask in masks),
            sum(int(np.any(masks, axis=0).sum()) for masks in images.values()),
        )
        for label, images in found.items()
    )


def test_each_night_is_merged_to_what_a_full_count_gives(night):
    for number in (0, 4, 8):
        lake = night(number)
        stats = merged(lake)
        assert stats == recomputed(lake)
        assert any(total > union for _, _, _, total, union in stats)


def test_segments_from_before_there_were_partials_are_counted_too(night, monkeypatch):
    with monkeypatch.context() as before:
        before.setattr(segment_batch, "image_label_rows", lambda image, choice, found: [])
        night(0)
    lake = night(4)
    assert merged(lake) == recomputed(lake)


def test_no_mask_is_read_again(night, monkeypatch):
    night(0)
    read = []
    monkeypatch.setattr("tasks.label_stats.rle_union", lambda *arguments: read.append(arguments))
    night(4)
    assert not read
