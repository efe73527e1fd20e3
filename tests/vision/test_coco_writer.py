import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pycocotools.coco import COCO

from vision.coco import CocoAnnotation, CocoImage, check_document, write_document
from vision.masks import mask_to_rle, rle_area, rle_bbox

PAGE = CocoImage(1, "pages/1.png", 20, 15, "train")


def annotation(mask: np.ndarray, number: int, iscrowd: bool = True) -> CocoAnnotation:
    rle = mask_to_rle(mask)
    x, y, width, height = map(float, rle_bbox(rle, *mask.shape))
    return CocoAnnotation(
        number, 1, "panel", iscrowd, (x, y, width, height), rle_area(rle), rle, "", "compressed_rle"
    )


@given(st.lists(arrays(np.bool_, (15, 20)).filter(np.any), max_size=4))
def test_what_is_written_is_read_back_unchanged(masks: list[np.ndarray]):
    annotations = [annotation(mask, i) for i, mask in enumerate(masks)]
    result = check_document(write_document([PAGE], annotations, {1: "panel"}), "a.json")
    assert result.findings == []
    assert [(a.id, a.rle, a.bbox_xywh, a.area_px, a.iscrowd) for a in result.annotations] == [
        (a.id, a.rle, a.bbox_xywh, a.area_px, a.iscrowd) for a in annotations
    ]
    assert [(i.id, i.file_name, i.width, i.height, i.split) for i in result.images] == [
        (1, "pages/1.png", 20, 15, "train")
    ]


def test_pycocotools_reads_masks_and_polygons(tmp_path, capsys):
    square = np.zeros((15, 20), bool)
    square[2:7, 3:9] = True
    annotations = [annotation(square, 1), annotation(square, 2, iscrowd=False)]
    polygons = {2: [[3, 2, 9, 2, 9, 7, 3, 7]]}
    path = tmp_path / "annotations.json"
    path.write_bytes(write_document([PAGE], annotations, {1: "panel"}, polygons))
    coco = COCO(str(path))
    written = json.loads(path.read_bytes())["annotations"]
    assert written[1]["segmentation"] == [[3, 2, 9, 2, 9, 7, 3, 7]]
    for entry in coco.loadAnns([1, 2]):
        encoded = coco.annToRLE(entry)["counts"]
        assert (encoded if isinstance(encoded, bytes) else encoded.encode()) == annotations[0].rle


def test_unknown_references_and_ambiguous_categories_are_refused():
    mask = np.ones((15, 20), bool)
    with pytest.raises(ValueError, match="unknown image 1"):
        write_document([], [annotation(mask, 1)], {1: "panel"})
    with pytest.raises(ValueError, match="unknown category 'panel'"):
        write_document([PAGE], [annotation(mask, 1)], {1: "bubble"})
    with pytest.raises(ValueError, match="share a name"):
        write_document([PAGE], [], {1: "panel", 2: "panel"})
