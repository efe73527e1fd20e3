"""A COCO file becomes the masks that the full check gives, file by file."""

import json
import os
import signal
from pathlib import Path
from random import Random

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask

from benchmarks.coco_masks import coco_images, fuzz_images
from tasks import convert_masks as module
from tasks.convert_masks import ConversionDiedError, convert_masks
from vision.coco import check_document
from vision.coco.sections import Piece
from vision.masks import rle_to_png


def document(count: int) -> dict:
    """Images with polygons, crowds and masks that the full check has to refuse."""
    images, annotations = [], []
    random = Random(3)
    for image_id, image in enumerate([*coco_images(5, count), *fuzz_images(5, 60)], start=1):
        images.append(
            {
                "id": image_id,
                "file_name": f"{image_id}.jpg",
                "height": image.height,
                "width": image.width,
            }
        )
        for segmentation in image.segmentations:
            entry = {"id": len(annotations) + 1, "image_id": image_id, "category_id": 1}
            annotations.append(entry | {"segmentation": segmentation})
    random.shuffle(annotations)
    return {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "a"}]}


def damage(entries: list[dict]) -> None:
    """Break some annotations, and make others unusual but good."""
    entries[0]["segmentation"] = []
    entries[1]["image_id"] = 999_999
    entries[2]["category_id"] = 7
    entries[3]["segmentation"] = [[1, 2, 3]]
    entries[4]["id"] = entries[5]["id"]
    entries[6]["area"] = float("nan")
    entries[7]["id"] = str(entries[7]["id"])
    entries[8]["id"] = "left arm"
    entries[9]["segmentation"] = {"size": [1, 1], "counts": "0"}
    entries[10]["segmentation"] = [v for ring in [[2, 2, 9, 2, 9, 9]] for v in ring]
    entries[11]["iscrowd"] = 2
    entries[12]["bbox"] = [1, 1, -5, 3]
    entries[13]["score"] = "high"
    entries[14]["area"] = float("inf")
    entries[15]["segments_info"] = []
    entries[16]["note"] = "a key of its own"


def write(path: Path, content: dict) -> Path:
    path.write_text(json.dumps(content))
    return path


@pytest.mark.parametrize("processes", [1, 2])
def test_masks_and_findings_are_those_of_the_full_check(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, processes: int
):
    monkeypatch.setattr(module, "_PIECE_BYTES", 8192)
    content = document(20)
    damage(content["annotations"])
    path = write(tmp_path / "a.json", content)
    checked = check_document(path.read_bytes(), "a.json")
    told: list[int] = []

    result = convert_masks(
        path,
        tmp_path / "masks",
        processes=processes,
        progress=lambda stage, done, total, detail="": told.append(done),
    )
    grave = [finding for finding in checked.findings if finding.verdict != "note"]
    assert [(f.rule, f.pointer) for f in result.findings] == [(f.rule, f.pointer) for f in grave]
    assert result.written == len(checked.annotations)
    assert told[-1] == len(content["annotations"])
    assert len(told) > 3
    written = {file.name: file.read_bytes() for file in (tmp_path / "masks").iterdir()}
    assert len(written) == result.written
    sizes = {image.id: (image.height, image.width) for image in checked.images}
    for annotation in checked.annotations:
        size = sizes[annotation.image_id]
        own = annotation.id
        plain = f"{own:012d}" if isinstance(own, int) else "left-arm-"
        (name,) = (n for n in written if n.startswith(f"{annotation.image_id:012d}_{plain}"))
        assert written[name] == rle_to_png(annotation.rle, *size)


def test_masks_are_those_of_pycocotools(tmp_path: Path):
    content = document(10)
    path = write(tmp_path / "a.json", content)
    masks = tmp_path / "masks"
    convert_masks(path, masks, processes=1, bit_depth=8)
    sizes = {image["id"]: (image["height"], image["width"]) for image in content["images"]}
    compared = 0
    for entry in content["annotations"]:
        file = masks / f"{entry['image_id']:012d}_{entry['id']:012d}.png"
        size = sizes[entry["image_id"]]
        rle = coco_mask.frPyObjects(entry["segmentation"], *size)
        expected = coco_mask.decode(coco_mask.merge(rle) if isinstance(rle, list) else rle)
        if file.exists():
            compared += 1
            read = cv2.imread(str(file), cv2.IMREAD_UNCHANGED)
            assert np.array_equal(read, expected * 255)
        else:
            assert not expected.any()
    assert compared > 80


def test_a_broken_file_is_refused_and_nothing_is_written(tmp_path: Path):
    path = tmp_path / "a.json"
    path.write_text(json.dumps(document(2))[:-40])
    result = convert_masks(path, tmp_path / "masks", processes=1)
    assert result.rejected
    assert [finding.rule for finding in result.findings] == ["json.truncated"]
    assert not (tmp_path / "masks").exists()


def test_a_file_is_refused_from_a_process_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "_PIECE_BYTES", 4096)
    content = document(4)
    content["annotations"][-1]["image_id"] = 2**70
    path = write(tmp_path / "a.json", content)
    result = convert_masks(path, tmp_path / "masks", processes=2)
    assert result.rejected
    assert [finding.rule for finding in result.findings] == ["id.too_large"]
    assert sorted(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = write(tmp_path / "a.json", document(1))
    monkeypatch.setattr(module.os, "write", lambda file, data: len(data) - 1)
    with pytest.raises(OSError, match="No space left"):
        convert_masks(path, tmp_path / "masks", processes=1)
    assert sorted(tmp_path.iterdir()) == [path]


def test_a_killed_process_is_an_error_that_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "_PIECE_BYTES", 4096)
    monkeypatch.setattr(module, "_convert_in_process", die)
    path = write(tmp_path / "a.json", document(4))
    with pytest.raises(ConversionDiedError, match="fewer processes"):
        convert_masks(path, tmp_path / "masks", processes=2)
    assert sorted(tmp_path.iterdir()) == [path]


def die(piece: Piece) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_thousand_bad_annotations_take_a_thousand_times_one(tmp_path: Path):
    content = document(1) | {"annotations": [1] * 200_000}
    path = write(tmp_path / "a.json", content)
    result = convert_masks(path, tmp_path / "masks", processes=1)
    assert len(result.findings) == 200_000


def test_masks_beside_the_document_are_read(tmp_path: Path):
    content = document(1)
    image = content["images"][0]
    mask = np.zeros((image["height"], image["width"]), np.uint8)
    mask[5:20, 7:30] = 255
    cv2.imwrite(str(tmp_path / "m.png"), mask)
    entry = {"id": 1, "image_id": image["id"], "category_id": 1, "segmentation_file": "m.png"}
    path = write(tmp_path / "a.json", content | {"annotations": [entry]})
    result = convert_masks(path, tmp_path / "masks", processes=1)
    assert result.written == 1
    (file,) = (tmp_path / "masks").iterdir()
    assert np.array_equal(cv2.imread(str(file), cv2.IMREAD_UNCHANGED), mask)
