"""segmill predict with automatic masks: what it writes of good files, and says of others."""

import json
from pathlib import Path

from tests.drops import GRAY, write_box_drop


def test_predict_writes_an_overlay_and_a_coco_document(segmill, drop, tmp_path):
    (drop / "images" / "bad.png").write_bytes(b"no image")
    answer = segmill("predict", "--dir", drop / "images", "--output-dir", "out", "--json")
    assert answer.code == 1
    assert [image["segments"] for image in answer.json()["images"]] == [2, 1]
    document = json.loads((tmp_path / "out" / "p1.png.json").read_text())
    assert sorted(category["name"] for category in document["categories"]) == ["blue", "red"]
    assert (tmp_path / "out" / "p1.png.overlay.png").stat().st_size > 100
    assert "bad.png" in answer.err


def test_predict_goes_on_after_what_it_cannot_read(segmill, drop):
    images = drop / "images"
    (images / "a.png").mkdir()
    (images / "b.png").symlink_to("/proc/self/mem")  # a file of which the first byte is an error
    (images / "c.png").symlink_to(images / "nothing.png")
    answer = segmill("predict", "--dir", images, "--output-dir", "out", "--json")
    assert answer.code == 1
    assert [Path(image["image"]).name for image in answer.json()["images"]] == ["p1.png", "p2.png"]
    told = answer.err.replace("\n", "")
    assert "b.png: [Errno 5]" in told
    assert "c.png: [Errno 2]" in told
    assert "a.png" not in told


def test_predict_takes_no_folder_for_an_image(segmill, drop):
    answer = segmill("predict", "--image", drop / "images", "--output-dir", "out")
    assert answer.code == 2
    assert "is a directory" in answer.err


def test_predict_keeps_images_of_the_same_name_apart(segmill, drop, tmp_path):
    write_box_drop(tmp_path / "other", [[((2, 30, 20, 10), GRAY)]])
    arguments = []
    for image in (drop / "images/p1.png", tmp_path / "other/images/p1.png", drop / "images/p2.png"):
        arguments += ["--image", image]
    answer = segmill("predict", *arguments, "--output-dir", "out", "--json")
    assert [Path(image["overlay"]).name for image in answer.json()["images"]] == [
        "drop_images_p1.png.overlay.png",
        "other_images_p1.png.overlay.png",
        "p2.png.overlay.png",
    ]
    counts = [
        len(
            json.loads((tmp_path / "out" / f"{name}_images_p1.png.json").read_text())["annotations"]
        )
        for name in ("drop", "other")
    ]
    assert counts == [2, 1]


def test_the_progress_of_predict_ends_when_the_last_image_is_refused(segmill, drop):
    (drop / "images" / "z.png").write_bytes(b"no image")
    answer = segmill("predict", "--dir", drop / "images", "--output-dir", "out")
    assert answer.code == 1
    assert "predict: 3 done" in answer.err
