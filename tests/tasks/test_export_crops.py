from io import BytesIO

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tasks.export_crops import crop_png, export_crops, label_slugs


def names(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_crops_are_sorted_by_label_and_image_and_named_by_label_id_and_confidence(filled, tmp_path):
    output = tmp_path / "crops"
    summary = export_crops(filled.lake, filled.store, output)
    assert (summary.written, summary.skipped, summary.images) == (5, 0, 3)
    assert summary.labels == {"bubble": 3, "speech / text": 1, "unknown": 1}
    found = names(output)
    assert len(found) == 5
    assert {name.split("/")[0] for name in found} == {"bubble", "speech-text", "unknown"}
    first = filled.images[0][:12]
    assert sum(name.startswith(f"bubble/{first}/bubble_") for name in found) == 2
    assert any(name.endswith("_0.90.png") for name in found)


def test_a_second_export_writes_nothing_and_a_broken_one_goes_on(filled, tmp_path):
    output = tmp_path / "crops"
    export_crops(filled.lake, filled.store, output)
    lost = output / names(output)[0]
    before = {name: (output / name).stat().st_mtime_ns for name in names(output)[1:]}
    lost.unlink()
    summary = export_crops(filled.lake, filled.store, output)
    assert (summary.written, summary.skipped) == (1, 4)
    assert lost.exists()
    assert {name: (output / name).stat().st_mtime_ns for name in names(output)[1:]} == before


def test_crops_are_filtered_by_label_score_dataset_and_number(filled, tmp_path):
    def count(**filters):
        folder = tmp_path / "-".join(map(str, filters.values()))
        return export_crops(filled.lake, filled.store, folder, **filters).written

    assert count(label="bubble") == 3
    assert count(label="bubble", min_score=0.8) == 1
    assert count(dataset="comics") == 4
    assert count(limit=2) == 2
    assert count(limit=0) == 0
    assert count(label="no such label") == 0


def test_the_limit_keeps_the_highest_scores(filled, tmp_path):
    output = tmp_path / "crops"
    export_crops(filled.lake, filled.store, output, dataset="comics", limit=2)
    assert {path.stem[-4:] for path in output.rglob("*.png")} == {"0.90", "0.80"}


def test_an_image_that_is_gone_is_counted_and_the_rest_goes_on(filled, tmp_path):
    image_id = filled.images[0]
    filled.store.delete(f"images/{image_id[:2]}/{image_id}.png")
    summary = export_crops(filled.lake, filled.store, tmp_path / "crops")
    assert (summary.written, summary.unreadable_images) == (3, 1)


def test_an_image_of_too_many_pixels_counts_as_unreadable(filled, tmp_path, monkeypatch):
    monkeypatch.setenv("SEGMILL_MAX_IMAGE_PX", "100")
    summary = export_crops(filled.lake, filled.store, tmp_path / "crops")
    assert (summary.written, summary.unreadable_images) == (0, 3)
    summary = export_crops(filled.lake, filled.store, tmp_path / "crops", max_px=10**6)
    assert (summary.written, summary.unreadable_images) == (5, 0)


def test_progress_reaches_the_number_of_segments(filled, tmp_path):
    seen = []
    export_crops(
        filled.lake,
        filled.store,
        tmp_path / "crops",
        progress=lambda stage, done, total, detail="": seen.append((done, total)),
    )
    assert seen == [(n, 5) for n in range(1, 6)]


def test_wrong_choices_are_refused(filled, tmp_path):
    with pytest.raises(ValueError, match="background"):
        export_crops(filled.lake, filled.store, tmp_path, background="black")
    with pytest.raises(ValueError, match="limit"):
        export_crops(filled.lake, filled.store, tmp_path, limit=-1)


def test_a_crop_shows_the_segment_and_hides_the_rest():
    rgb = np.zeros((10, 12, 3), np.uint8)
    rgb[:] = (10, 120, 230)
    mask = np.zeros((10, 12), bool)
    mask[2:5, 3:9] = True
    mask[2, 3] = False
    for background, mode, corner in (
        ("transparent", "RGBA", (0, 0, 0, 0)),
        ("white", "RGB", (255, 255, 255)),
        ("keep", "RGB", (10, 120, 230)),
    ):
        crop = Image.open(BytesIO(crop_png(rgb, mask, background)))
        assert (crop.mode, crop.size) == (mode, (6, 3))
        assert crop.getpixel((0, 0)) == corner
        assert crop.getpixel((1, 0))[:3] == (10, 120, 230)


def test_a_crop_of_an_empty_mask_is_one_pixel():
    data = crop_png(np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4), bool))
    assert cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED).shape == (1, 1, 4)


@given(st.sets(st.text(max_size=80), max_size=12))
def test_slugs_are_safe_and_distinct(labels):
    slugs = label_slugs(labels)
    assert slugs.keys() == labels
    assert len(set(slugs.values())) == len(labels)
    for slug in slugs.values():
        assert slug and slug.isascii() and len(slug) <= 64
        assert set(slug) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")


def test_slugs_of_awkward_labels():
    slugs = label_slugs(["Traffic Light", "traffic-light", "../../etc", "con", "吹き出し", "Café"])
    assert slugs["traffic-light"] == "traffic-light"
    assert slugs["Traffic Light"].startswith("traffic-light-")
    assert slugs["../../etc"] == "etc"
    assert slugs["con"].startswith("con-")
    assert slugs["吹き出し"].startswith("label-")
    assert slugs["Café"] == "cafe"
