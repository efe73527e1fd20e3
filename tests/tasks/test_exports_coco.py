import json

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from tasks.exports.coco import CocoFormat, PolygonLossError
from tasks.exports.dataset import export_dataset
from tasks.exports.folder import MARKER, OutputFolderError
from tasks.exports.selection import NothingToExportError, Selection
from tests.exports import (
    Drawn,
    Page,
    box,
    fill,
    masks_of_drop,
    masks_of_pages,
    read_back,
)
from vision.masks import mask_to_rle

ANNOTATIONS = Selection(source="annotations")


@pytest.fixture
def export(root, tmp_path):
    def run(form=None, selection=ANNOTATIONS, output=tmp_path / "out", **options):
        return export_dataset(
            root.lake, root.store, output, form or CocoFormat(), selection, **options
        )

    return run


def document(folder):
    return json.loads((folder / "annotations.json").read_text())


@pytest.mark.parametrize("segmentation", ["rle", "polygon"])
def test_an_export_is_a_drop_with_the_same_masks(export, root, pages, tmp_path, segmentation):
    summary = export(CocoFormat(segmentation))
    content = read_back(tmp_path / "out")
    assert content.findings == []
    assert masks_of_drop(content) == masks_of_pages(root, pages)
    assert {image.split for image in content.images.values()} == {"train", "val"}
    assert (summary.images, summary.objects, summary.empty_masks) == (2, 7, 0)
    assert summary.labels == {"bubble": 2, "panel": 3, "sky": 1, "漫画 / text": 1}
    assert sum(summary.labels.values()) == summary.objects


def test_polygons_are_used_where_they_are_exact_and_the_rest_is_counted(export, tmp_path, capsys):
    summary = export(CocoFormat("polygon"))
    assert summary.limits == {"masks_kept_as_rle": 1}  # the holed one; a crowd is RLE anyway
    entries = document(tmp_path / "out")["annotations"]
    kinds = [type(entry["segmentation"]) for entry in entries]
    assert kinds.count(list) == 5
    reader = COCO(str(tmp_path / "out" / "annotations.json"))
    for entry in reader.loadAnns(reader.getAnnIds()):
        assert reader.annToMask(entry).sum() == entry["area"]


def test_strict_polygons_refuse_to_lose_a_hole_and_write_nothing(export, tmp_path):
    with pytest.raises(PolygonLossError, match=r"1 mask has holes .* --segmentation rle") as error:
        export(CocoFormat("polygon", strict=True))
    assert error.value.masks == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["root"]
    plain = Selection(source="annotations", labels=("panel",))
    assert export(CocoFormat("polygon", strict=True), plain).limits == {}


def test_segments_keep_their_score_and_lead_back_to_the_table(export, tmp_path):
    summary = export(selection=Selection())
    assert summary.models == ("demo-1",)
    entries = document(tmp_path / "out")["annotations"]
    assert [entry["id"] for entry in entries] == list(range(1, 8))
    assert sorted(entry.get("score", -1) for entry in entries) == [
        -1, 0.3, 0.4, 0.6, 0.7, 0.8, 0.9,
    ]  # fmt: skip
    assert all(len(entry["source_id"]) == 64 for entry in entries)


@pytest.mark.parametrize(
    ("filters", "objects", "images"),
    [
        ({"dataset": "comics"}, 7, 2),
        ({"labels": ("panel",)}, 3, 2),
        ({"labels": ("panel", "sky")}, 4, 2),
        ({"min_score": 0.5}, 4, 2),
        ({"split": "val"}, 3, 1),
        ({"model_id": "demo-1"}, 7, 2),
        ({"empty_images": True}, 7, 3),
        ({"empty_images": True, "labels": ("sky",)}, 1, 3),
    ],
)
def test_filters_choose_what_comes(export, filters, objects, images):
    summary = export(selection=Selection(**filters))
    assert (summary.objects, summary.images) == (objects, images)


@pytest.mark.parametrize(
    "filters", [{"dataset": "street"}, {"labels": ("'; DROP TABLE images",)}, {"model_id": "x"}]
)
def test_a_selection_that_fits_nothing_is_an_error_and_writes_nothing(export, tmp_path, filters):
    with pytest.raises(NothingToExportError, match="--source annotations"):
        export(selection=Selection(**filters))
    assert not (tmp_path / "out").exists()


def test_annotations_have_neither_model_nor_score_to_filter_by():
    for filters in ({"model_id": "demo-1"}, {"min_score": 0.1}):
        with pytest.raises(ValueError, match="neither model nor score"):
            Selection(source="annotations", **filters)


def test_annotations_come_from_the_dataset_that_brought_them(tmp_path):
    first = Page(8, 6, [Drawn(np.ones((6, 8), bool), "panel")])
    root = fill(tmp_path / "root", [first])
    (image,) = root.lake.read("images").to_pylist()
    (annotation,) = root.lake.read("annotations").to_pylist()
    second = {"unit_id": "ingest-2"}
    root.lake.append("images", [image | second | {"dataset": "second"}], "ingest-2")
    other = annotation | second | {"dataset": "second", "category": "bubble"}
    root.lake.append("annotations", [other], "ingest-2")
    root.lake.commit_unit(stage="ingest", unit_id="ingest-2", subject="2", inputs=1, outputs=1)

    def labels(dataset):
        chosen = Selection(source="annotations", dataset=dataset)
        output = tmp_path / str(dataset)
        return export_dataset(root.lake, root.store, output, CocoFormat(), chosen).labels

    assert labels("comics") == {"panel": 1}
    assert labels("second") == {"bubble": 1}
    assert labels(None) == {"bubble": 1, "panel": 1}


def test_older_versions_of_a_table_can_be_exported(export):
    with pytest.raises(NothingToExportError):
        export(selection=Selection(versions={"segments": 0}))
    assert export(selection=Selection(versions={"segments": 1})).objects == 7


def test_the_same_tables_give_the_same_bytes(export, tmp_path):
    for name in ("one", "two"):
        export(output=tmp_path / name)
    one, two = (
        {path.relative_to(tmp_path / name): path.read_bytes() for path in files}
        for name in ("one", "two")
        for files in [[p for p in (tmp_path / name).rglob("*") if p.is_file()]]
    )
    assert one == two


def test_without_images_the_document_names_the_files_as_they_were(export, tmp_path):
    export(pictures=False)
    names = {image["file_name"] for image in document(tmp_path / "out")["images"]}
    assert names == {"pages/1.png", "pages/2.png"}
    assert not (tmp_path / "out" / "images").exists()


def test_images_are_turned_upright(tmp_path):
    mask = box(30, 20, slice(2, 9), slice(1, 5))
    page = Page(20, 30, [Drawn(mask, "panel")], orientation=6)
    root = fill(tmp_path / "root", [page])
    output = tmp_path / "out"
    summary = export_dataset(root.lake, root.store, output, CocoFormat(), ANNOTATIONS)
    assert summary.turned_images == 1
    with Image.open(output / "images" / "000000000001.png") as image:
        assert (image.size, image.getexif().get(0x0112)) == ((20, 30), None)
    ((_, annotation),) = read_back(output).annotations
    assert annotation.rle == mask_to_rle(mask)


def test_an_image_that_is_gone_is_counted_and_the_rest_goes_on(export, root, tmp_path):
    (key,) = (info.key for info in root.store.list("images/") if root.images[0] in info.key)
    root.store.delete(key)
    summary = export()
    assert (summary.missing_images, summary.images, summary.objects) == (1, 1, 3)
    assert read_back(tmp_path / "out").findings == []


def test_an_empty_mask_is_no_object(tmp_path):
    page = Page(8, 6, [Drawn(np.zeros((6, 8), bool), "panel"), Drawn(np.ones((6, 8), bool), "sky")])
    root = fill(tmp_path / "root", [page])
    summary = export_dataset(root.lake, root.store, tmp_path / "out", CocoFormat(), ANNOTATIONS)
    assert (summary.empty_masks, summary.objects) == (1, 1)


def test_a_folder_with_other_files_is_never_replaced(export, tmp_path):
    output = tmp_path / "out"
    output.mkdir()
    export()  # an empty folder is as good as none
    with pytest.raises(OutputFolderError, match="--overwrite"):
        export()
    export(overwrite=True, selection=Selection(split="val"))
    assert len(document(output)["images"]) == 1
    (output / MARKER).unlink()
    with pytest.raises(OutputFolderError, match="no earlier export"):
        export(overwrite=True)
    file = tmp_path / "file"
    file.write_text("kept")
    with pytest.raises(OutputFolderError, match="not a folder"):
        export(output=file, overwrite=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "out", "root"]


def test_a_failure_leaves_the_earlier_export_alone(export, tmp_path):
    export()
    before = (tmp_path / "out" / "annotations.json").read_bytes()

    def fail(*_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export(overwrite=True, progress=fail)
    assert (tmp_path / "out" / "annotations.json").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "root"]


def test_progress_reaches_the_number_of_images(export):
    seen = []
    export(progress=lambda stage, done, total, detail="": seen.append((stage, done, total)))
    assert seen == [("export coco", 1, 2), ("export coco", 2, 2)]
