import json

import cv2
import numpy as np
import pytest

from tests.training import picture
from vision.finetune import TrainingDataError, read_folder
from vision.finetune.training_images import read_pixels
from vision.masks import mask_to_rle, rle_area, rle_to_png


def write_picture(path, seed):
    rgb, shapes = picture(seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), rgb[..., ::-1])
    return shapes


def segmentation(mask):
    return {"size": list(mask.shape), "counts": mask_to_rle(mask).decode()}


def document(entries, categories=("box", "egg")):
    """A COCO document of (file name, masks, more keys) for each image."""
    images, annotations = [], []
    for number, (name, masks, more) in enumerate(entries, 1):
        images.append({"id": number, "file_name": name, "width": 128, "height": 96} | more)
        for mask in masks:
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": 1,
                    "segmentation": segmentation(mask),
                    "iscrowd": 0,
                }
            )
    names = [{"id": n, "name": name} for n, name in enumerate(categories, 1)]
    return {"images": images, "annotations": annotations, "categories": names}


def test_a_coco_folder(tmp_path):
    shapes = [write_picture(tmp_path / "images" / f"{n}.png", n) for n in range(3)]
    tree = document([(f"images/{n}.png", shapes[n], {}) for n in range(3)])
    tree["annotations"][0]["iscrowd"] = 1
    (tmp_path / "annotations.json").write_text(json.dumps(tree))

    found = read_folder(tmp_path)

    assert [image.image_id for image in found.images] == [f"images/{n}.png" for n in range(3)]
    assert [len(image.rles) for image in found.images] == [2, 3, 3]  # less a crowd
    assert found.images[1].labels == ("box", "box", "box")
    assert rle_area(found.images[1].rles[0]) == shapes[1][0].sum()
    assert np.array_equal(read_pixels(found.images[1]), picture(1)[0])
    assert found.problems == []


def test_coco_as_it_is_published(tmp_path):
    """annotations/instances_train2017.json and train2017/000000000009.png."""
    for side, seed in (("train2017", 1), ("val2017", 2)):
        shapes = write_picture(tmp_path / side / f"{seed:012d}.png", seed)
        path = tmp_path / "annotations" / f"instances_{side}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(document([(f"{seed:012d}.png", shapes, {})])))

    found = read_folder(tmp_path)

    assert {image.image_id: image.split for image in found.images} == {
        "train2017/000000000001.png": "train",
        "val2017/000000000002.png": "val",
    }


def test_the_comic_layout(tmp_path):
    """data/annotations.json, data/images/train and mask files."""
    data = tmp_path / "data"
    entries = []
    for seed, side in ((1, "train"), (2, "val")):
        shapes = write_picture(data / "images" / side / f"{seed}.png", seed)
        entries.append((f"{seed}.png", shapes, {"split": side}))
    tree = document(entries)
    (data / "masks").mkdir()
    for annotation in tree["annotations"]:
        rle = annotation.pop("segmentation")["counts"]
        name = f"masks/{annotation['id']}.png"
        (data / name).write_bytes(rle_to_png(rle, 96, 128))
        annotation["segmentation_file"] = name
    (data / "annotations.json").write_text(json.dumps(tree))

    found = read_folder(tmp_path)

    assert [(image.image_id, image.split) for image in found.images] == [
        ("data/images/train/1.png", "train"),
        ("data/images/val/2.png", "val"),
    ]
    assert rle_area(found.images[0].rles[2]) == picture(1)[1][2].sum()


def a_split_folder(folder, names, name="annotations.json", more=None):
    """A document and an image for each folder, and what the document says of the images."""
    for seed, part in enumerate(names):
        shapes = write_picture(folder / part / f"{seed}.png", seed)
        tree = document([(f"{seed}.png", shapes, more(part) if more else {})])
        (folder / part / name).write_text(json.dumps(tree))


@pytest.mark.parametrize("name", ["annotations.json", "_annotations.coco.json"])
@pytest.mark.parametrize(
    ("folders", "kept", "left_out"),
    [
        (("train", "val", "test"), {"train/0.png": "train", "val/1.png": "val"}, "test"),
        (("train", "valid", "Test"), {"train/0.png": "train", "valid/1.png": "val"}, "test"),
        (("train", "test2017"), {"train/0.png": "train"}, "test2017"),
        (("training", "val2017"), {"training/0.png": "train", "val2017/1.png": "val"}, None),
        (("trains", "valley"), {"trains/0.png": None, "valley/1.png": None}, None),
    ],
)  # fmt: skip
def test_folders_name_splits_and_only_train_is_learnt_from(tmp_path, name, folders, kept, left_out):
    a_split_folder(tmp_path, folders, name)

    found = read_folder(tmp_path)

    assert {image.image_id: image.split for image in found.images} == kept
    assert [f"has it in {left_out};" in problem for problem in found.problems] == (
        [True] if left_out else []
    )


@pytest.mark.parametrize(
    ("split", "side"),
    [("train2017", "train"), ("Val2017", "val"), ("valid", "val"), ("test", None), ("dev", None)],
)
def test_splits_that_a_document_says_are_read_as_the_tables_do(tmp_path, split, side):
    splits = {"a": split, "b": "train"}
    a_split_folder(tmp_path, splits, more=lambda part: {"split": splits[part]})

    found = read_folder(tmp_path)

    sides = {image.image_id: image.split for image in found.images}
    assert sides == ({"a/0.png": side} if side else {}) | {"b/1.png": "train"}
    if side is None:
        assert found.problems == [f"a/0.png: the data has it in {split}; nothing is learnt of it"]


def test_documents_named_after_splits(tmp_path):
    names = ("train.json", "instances_val2017.json", "image_info_test-dev2017.json")
    for seed, name in enumerate(names):
        shapes = write_picture(tmp_path / "images" / f"{seed}.png", seed)
        (tmp_path / name).write_text(json.dumps(document([(f"{seed}.png", shapes, {})])))

    found = read_folder(tmp_path)

    assert {image.image_id: image.split for image in found.images} == {
        "images/0.png": "train",
        "images/1.png": "val",
    }
    assert "images/2.png: the data has it in test" in found.problems[0]


@pytest.mark.parametrize("masks", [True, False])
def test_what_one_document_holds_back_no_other_one_brings_in(tmp_path, masks):
    shapes = [write_picture(tmp_path / f"{seed}.png", seed) for seed in range(2)]
    plain = document([(f"{seed}.png", shapes[seed], {}) for seed in range(2)])
    held_back = document([("1.png", shapes[1] if masks else [], {"split": "test"})])
    (tmp_path / "boxes.json").write_text(json.dumps(plain))
    (tmp_path / "eggs.json").write_text(
        json.dumps(held_back | {"categories": [{"id": 1, "name": "egg"}]})
    )

    assert [image.image_id for image in read_folder(tmp_path).images] == ["0.png"]


def test_an_image_on_both_sides_is_on_none(tmp_path):
    shapes = [write_picture(tmp_path / f"{seed}.png", seed) for seed in range(2)]
    both = [(f"{seed}.png", shapes[seed], {}) for seed in range(2)]
    (tmp_path / "train.json").write_text(json.dumps(document(both)))
    (tmp_path / "val.json").write_text(json.dumps(document(both[1:])))

    found = read_folder(tmp_path)

    assert [(image.image_id, image.split) for image in found.images] == [("0.png", "train")]
    assert "1.png: the data has it in train and val" in found.problems[0]


def test_only_held_out_images_are_nothing_to_learn_from(tmp_path):
    a_split_folder(tmp_path, ["test"])

    with pytest.raises(TrainingDataError, match=r"nothing to learn from: test/0\.png: .* in test;"):
        read_folder(tmp_path)


def test_one_image_in_two_documents_has_the_masks_of_both(tmp_path):
    shapes = write_picture(tmp_path / "1.png", 1)
    for name, masks in (("boxes.json", shapes[:1]), ("eggs.json", shapes[1:])):
        (tmp_path / name).write_text(json.dumps(document([("1.png", masks, {})])))

    assert len(read_folder(tmp_path).images[0].rles) == 3


def test_objects_that_two_documents_list_are_learnt_once(tmp_path):
    """instances and person_keypoints of COCO have the same people."""
    shapes = write_picture(tmp_path / "1.png", 1)
    listed = {"instances.json": (shapes, ("box",)), "keypoints.json": (shapes[1:], ("person",))}
    for name, (masks, names) in listed.items():
        (tmp_path / name).write_text(json.dumps(document([("1.png", masks, {})], names)))

    (image,) = read_folder(tmp_path).images

    assert list(image.rles) == [mask_to_rle(mask) for mask in shapes]
    assert image.labels == ("box", "box", "box")


def test_near_duplicates_form_a_group(tmp_path):
    entries = []
    for name, seed in (("a", 1), ("b", 2), ("copy_of_a", 1), ("c", 3)):
        entries.append((f"{name}.jpg", write_picture(tmp_path / f"{name}.jpg", seed), {}))
    (tmp_path / "annotations.json").write_text(json.dumps(document(entries)))

    groups = {image.image_id: image.group for image in read_folder(tmp_path).images}

    assert groups["copy_of_a.jpg"] == groups["a.jpg"]
    assert len(set(groups.values())) == 3


def test_bad_entries_are_named_and_the_rest_is_used(tmp_path):
    shapes = [write_picture(tmp_path / f"{n}.png", n) for n in range(4)]
    (tmp_path / "2.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    tree = document([(f"{n}.png", shapes[n], {}) for n in range(4)] + [("5.png", shapes[3], {})])
    tree["annotations"][0]["segmentation"] = [[1, 2, 3]]
    (tmp_path / "annotations.json").write_text(json.dumps(tree))

    found = read_folder(tmp_path)

    assert [image.image_id for image in found.images] == ["0.png", "1.png", "3.png"]
    assert len(found.images[0].rles) == 2
    told = "\n".join(found.problems)
    assert "/annotations/0" in told
    assert "there is no file 5.png" in told
    assert "2.png: cannot be read" in told


def test_names_never_lead_out_of_the_folder(tmp_path):
    shapes = write_picture(tmp_path / "outside" / "1.png", 1)
    write_picture(tmp_path / "drop" / "2.png", 2)
    path = tmp_path / "drop" / "annotations.json"
    path.write_text(json.dumps(document([("../outside/1.png", shapes, {})])))

    with pytest.raises(TrainingDataError, match=r"path\.parent"):
        read_folder(tmp_path / "drop")

    (tmp_path / "drop" / "link.png").symlink_to(tmp_path / "outside" / "1.png")
    path.write_text(json.dumps(document([("link.png", shapes, {})])))
    with pytest.raises(TrainingDataError, match=r"no file link\.png"):
        read_folder(tmp_path / "drop")


def test_a_document_may_lie_elsewhere(tmp_path):
    shapes = write_picture(tmp_path / "pages" / "val" / "1.png", 1)
    (tmp_path / "mine.json").write_text(json.dumps(document([("val/1.png", shapes, {})])))
    (tmp_path / "pages" / "annotations.json").symlink_to(tmp_path / "mine.json")
    (found,) = read_folder(tmp_path / "pages").images
    assert found.split == "val"


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ({}, "holds no COCO JSON"),
        ({"annotations.json": "{"}, "no image of"),
        ({"annotations.json": json.dumps(document([]))}, "document.no_images"),
        ({"annotations.json": json.dumps(document([("1.png", [], {})]))}, "no image of"),
    ],
)
def test_folders_that_hold_nothing_to_learn_from(tmp_path, files, told):
    for name, text in files.items():
        (tmp_path / name).write_text(text)

    with pytest.raises(TrainingDataError, match=told):
        read_folder(tmp_path)


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(TrainingDataError, match="there is no folder"):
        read_folder(tmp_path / "x")
