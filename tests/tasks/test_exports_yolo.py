import numpy as np
import pytest
import yaml

from tasks.exports.dataset import export_dataset
from tasks.exports.selection import Selection
from tasks.exports.yolo import YoloFormat
from tests.exports import Drawn, Page, box, fill
from vision.coco.outlines import mask_outlines
from vision.masks import polygons_to_rle, rle_to_mask


@pytest.fixture
def export(root, tmp_path):
    def run(**filters):
        chosen = Selection(**({"source": "annotations"} | filters))
        return export_dataset(root.lake, root.store, tmp_path / "out", YoloFormat(), chosen)

    return run


def masks_of(label_file, height, width):
    """Class and mask of every line of a label file."""
    found = []
    for line in label_file.read_text().splitlines():
        number, *values = line.split(" ")
        ring = [float(value) * (height if i % 2 else width) for i, value in enumerate(values)]
        found.append(
            (int(number), rle_to_mask(polygons_to_rle([ring], height, width), height, width))
        )
    return found


def test_lines_draw_the_masks_and_lost_holes_are_told(export, root, pages, tmp_path):
    summary = export()
    names = yaml.safe_load((tmp_path / "out" / "dataset.yaml").read_text())["names"]
    assert summary.limits == {"holes_filled": 1, "parts_joined": 2, "crowds_left_out": 1}
    assert summary.objects == 6
    for number, image_id in enumerate(sorted(root.images[:2]), start=1):
        page = pages[root.images.index(image_id)]
        file = tmp_path / "out" / "labels" / page.split / f"{number:012d}.txt"
        drawn = {d.label: [] for d in page.drawn if not d.iscrowd}
        for item in page.drawn:
            if not item.iscrowd:
                drawn[item.label].append(item.mask)
        for number_of_class, mask in masks_of(file, page.height, page.width):
            label = names[number_of_class]
            exact = [m for m in drawn[label] if np.array_equal(m, mask)]
            filled = [m for m in drawn[label] if mask_outlines(m).holes and not np.any(m & ~mask)]
            assert exact or filled
        assert len(file.read_text().splitlines()) == sum(map(len, drawn.values()))


def test_every_image_has_its_labels_in_the_same_split(export, tmp_path):
    export(empty_images=True)
    folder = tmp_path / "out"
    images = {p.relative_to(folder / "images").with_suffix("") for p in folder.glob("images/*/*")}
    labels = {p.relative_to(folder / "labels").with_suffix("") for p in folder.glob("labels/*/*")}
    assert images == labels
    assert {path.parent.name for path in images} == {"train", "val"}
    for line in "".join(p.read_text() for p in folder.glob("labels/*/*")).splitlines():
        values = [float(value) for value in line.split(" ")[1:]]
        assert len(values) >= 6 and len(values) % 2 == 0
        assert all(0 <= value <= 1 for value in values)


def test_the_yaml_names_folders_and_classes(export, tmp_path):
    export()
    document = yaml.safe_load((tmp_path / "out" / "dataset.yaml").read_text())
    assert document == {
        "train": "images/train",
        "val": "images/val",
        "names": {0: "bubble", 1: "panel", 2: "sky", 3: "漫画 / text"},
    }


def test_another_split_has_its_folders(tmp_path):
    mask = box(6, 8, slice(1, 3), slice(2, 5))
    root = fill(tmp_path / "root", [Page(8, 6, [Drawn(mask, "no")], split="test")])
    output = tmp_path / "out"
    export_dataset(root.lake, root.store, output, YoloFormat(), Selection(source="annotations"))
    document = yaml.safe_load((output / "dataset.yaml").read_text())
    assert document == {
        "train": "images/train",
        "val": "images/val",
        "test": "images/test",
        "names": {0: "no"},
    }
    assert (output / "labels/test/000000000001.txt").read_text() == (
        "0 0.25 0.166667 0.625 0.166667 0.625 0.5 0.25 0.5\n"
    )
