"""Cases 1 to 78: the COCO document. Numbers and verdicts are those of the bad-input matrix."""

import gzip
import json

from tests.bad_input.bad_drop import HEIGHT_PX, WIDTH_PX, case

AREA_PX = HEIGHT_PX * WIDTH_PX
SQUARE = [30, 20, 42, 20, 42, 30, 30, 30]


def set_image(**values):
    return lambda drop: drop.image.update(values)


def set_annotation(**values):
    return lambda drop: drop.annotation.update(values)


def set_raw(change):
    def spoil(drop):
        drop.raw = change(json.dumps(drop.document).encode())

    return spoil


def without(key):
    return lambda drop: drop.document.pop(key)


# The container
case(1, "reject", "json.empty")(set_raw(lambda good: b""))
case(2, "reject", "json.truncated")(set_raw(lambda good: good[: len(good) // 2]))
case(3, "reject", "json.trailing")(set_raw(lambda good: good + b"}"))
case(4, "fix", "json.byte_order_mark")(set_raw(lambda good: b"\xef\xbb\xbf" + good))
case(5, "reject", "json.encoding")(set_raw(lambda good: good.decode().encode("utf-16")))
case(6, "reject", "json.encoding")(set_raw(lambda good: good.replace(b"box", b"b\xffx")))
case(7, "reject", "json.surrogate")(set_raw(lambda good: good.replace(b"box", rb"b\ud800x")))
case(8, "reject", "json.nul")(set_raw(lambda good: good.replace(b"box", rb"b\u0000x")))
case(9, "reject", "json.duplicate_key")(
    set_raw(lambda good: good.replace(b'"iscrowd"', b'"area": 3, "iscrowd"'))
)
case(12, "reject", "json.too_deep")(
    set_raw(lambda good: b'{"deep": ' + b"[" * 100_000 + b"]" * 100_000 + b"}")
)
case(13, "reject", "json.integer_too_long")(
    set_raw(lambda good: good.replace(b'"iscrowd": 0', b'"iscrowd": ' + b"7" * 4301))
)
case(14, "reject", "document.type")(set_raw(lambda good: b"[" + good + b"]"))
case(15, "reject", "document.no_images")(without("images"))
case(17, "reject", "document.no_categories")(without("categories"))
case(18, "accept")(set_annotation(tags=["new"], attributes={"x": 1}))
case(20, "reject", "json.compressed")(set_raw(gzip.compress))


@case(10, "annotation", "annotation.not_finite")
def a_nan_token(drop):
    drop.annotation["area"] = float("nan")


@case(11, "annotation", "annotation.not_finite")
def a_number_beyond_floats(drop):
    drop.annotation["area"] = 123456789
    drop.edit_text("123456789", "1e999")


@case(16, "accept")
def no_annotations(drop):
    del drop.document["annotations"]


@case(19, "accept")
def a_large_document(drop):
    drop.document["info"] = {"padding": "x" * 5_000_000}


# Ids
case(24, "annotation", "annotation.image_unknown")(set_annotation(image_id=99))
case(25, "annotation", "annotation.category_unknown")(set_annotation(category_id=99))
case(26, "fix", "id.string")(set_annotation(id="7"))
case(27, "reject", "id.too_large")(set_image(id=2**63))


@case(21, "reject", "image.duplicate_id")
def one_id_for_two_images(drop):
    drop.image["id"] = 1


@case(22, "annotation", "annotation.duplicate_id")
def one_id_for_two_annotations(drop):
    drop.document["annotations"].append(drop.annotation | {"bbox": [30, 20, 12, 10]})


@case(23, "reject", "category.duplicate_id")
def one_id_for_two_categories(drop):
    drop.document["categories"].append({"id": 1, "name": "other"})


@case(28, "annotation", "annotation.id")
def a_fraction_as_an_id_but_a_whole_float_is_fine(drop):
    drop.document["annotations"][0]["id"] = 1.0
    drop.annotation["id"] = 1.5


@case(29, "accept")
def zero_and_negative_ids(drop):
    drop.document["annotations"][0]["id"] = 0
    drop.annotation["id"] = -5


@case(30, "annotation", "annotation.id")
def null_as_an_id(drop):
    drop.annotation["id"] = None


@case(31, "reject", "image.duplicate_file")
def one_file_for_two_images(drop):
    drop.rename("images/p1.png")


@case(32, "fix", "category.same_name")
def two_categories_of_one_name(drop):
    drop.document["categories"].append({"id": 2, "name": "box"})
    drop.annotation["category_id"] = 2


# The section images
case(35, "image", "image.size")(set_image(width=0))
case(36, "image", "image.size_differs")(set_image(width=WIDTH_PX + 1))


@case(38, "image", "image.missing")
def no_image_file(drop):
    drop.picture.unlink()


@case(34, "fix", "image.size_filled")
def no_width_and_no_height(drop):
    del drop.image["width"], drop.image["height"]


@case(39, "fix", "drop.file_unused")
def a_file_that_nothing_names(drop):
    (drop.folder / "notes.txt").write_text("hello")


# Polygons
case(41, "annotation", "segmentation.null")(set_annotation(segmentation=None))
case(42, "annotation", "segmentation.empty")(set_annotation(segmentation=[]))
case(43, "annotation", "polygon.too_short")(set_annotation(segmentation=[[]]))
case(44, "annotation", "polygon.odd")(set_annotation(segmentation=[[*SQUARE, 1]]))
case(45, "annotation", "polygon.too_short")(set_annotation(segmentation=[[1, 2, 3, 4]]))
case(46, "annotation", "annotation.not_finite")(
    set_annotation(segmentation=[[1, 2, float("inf"), 4, 5, 6]])
)
case(47, "annotation", "polygon.too_far")(set_annotation(segmentation=[[1, 2, 2e8, 4, 5, 6]]))
case(48, "fix", "polygon.clipped")(
    set_annotation(segmentation=[[50, 20, 70, 20, 70, 30]], bbox=[50, 20, 14, 8])
)
case(49, "annotation", "polygon.outside")(set_annotation(segmentation=[[90, 1, 99, 1, 99, 9]]))
case(50, "annotation", "polygon.zero_area")(set_annotation(segmentation=[[1, 1, 5, 1, 9, 1]]))
case(51, "fix", "polygon.crosses_itself")(
    set_annotation(segmentation=[[10, 10, 30, 30, 30, 10, 10, 30]])
)
case(52, "annotation", "polygon.value_type")(set_annotation(segmentation=[[1, 2, "3", 4, 5, 6]]))
case(53, "fix", "polygon.flat_list")(set_annotation(segmentation=SQUARE))
case(54, "annotation", "polygon.too_many_vertices")(
    set_annotation(segmentation=[[1.0, 2.0] * 1_000_000])
)
case(55, "annotation", "polygon.too_many_parts")(set_annotation(segmentation=[SQUARE] * 10_000))
case(56, "fix", "polygon.duplicate_ring")(set_annotation(segmentation=[SQUARE, SQUARE]))


@case(40, "annotation", "segmentation.missing")
def no_segmentation(drop):
    del drop.annotation["segmentation"]


# Run-length encodings
def set_counts(counts, size=(HEIGHT_PX, WIDTH_PX)):
    return lambda drop: drop.rle(counts, size)


case(57, "annotation", "rle.short")(set_counts([AREA_PX - 9, 8]))
case(58, "annotation", "rle.long")(set_counts([AREA_PX - 9, 10]))
case(59, "annotation", "rle.unterminated")(set_counts("o"))
case(60, "annotation", "rle.byte")(set_counts("~~"))
case(61, "annotation", "rle.negative")(set_counts([AREA_PX + 5, -5]))
case(62, "annotation", "rle.count_too_large")(set_counts([2**32 + 1]))
case(63, "annotation", "rle.count_type")(set_counts([AREA_PX - 9.0, 9.0]))
case(64, "annotation", "rle.count_type")(set_counts([AREA_PX, None]))
case(65, "annotation", "rle.too_many_runs")(set_counts([0] * (AREA_PX + 2)))
case(66, "annotation", "rle.size_swapped")(set_counts([AREA_PX - 9, 9], (WIDTH_PX, HEIGHT_PX)))
case(67, "annotation", "rle.size_mismatch")(set_counts([90, 10], (10, 10)))
case(68, "annotation", "rle.size")(set_counts([0], (0, WIDTH_PX)))
case(69, "annotation", "rle.too_large")(set_counts([9, 9], (2**32 + 2, WIDTH_PX)))
case(70, "annotation", "rle.too_large")(set_counts([9, 9], (65_536, 65_536)))
case(71, "annotation", "rle.empty")(set_counts([]))


@case(72, "fix", "annotation.crowd_polygon")
def a_crowd_of_polygons_and_an_instance_of_runs(drop):
    drop.annotation["iscrowd"] = 1
    runs = {"size": [HEIGHT_PX, WIDTH_PX], "counts": [AREA_PX - 9, 9]}
    drop.document["annotations"][0].update(segmentation=runs)


@case(73, "accept")
def counts_as_a_list_and_as_a_string(drop):
    drop.rle([AREA_PX - 9, 9])
    drop.annotation.update(area=9, bbox=[WIDTH_PX - 1, HEIGHT_PX - 9, 1, 9])
    runs = {"size": [HEIGHT_PX, WIDTH_PX], "counts": "go29"}
    drop.document["annotations"][0].update(
        iscrowd=1, segmentation=runs, area=9, bbox=[WIDTH_PX - 1, HEIGHT_PX - 9, 1, 9]
    )


# Other fields
case(74, "fix", "bbox.differs")(set_annotation(bbox=[1, 2, 3, 4]))
case(75, "annotation", "bbox.negative")(set_annotation(bbox=[30, 20, -12, 10]))
case(76, "fix", "area.differs")(set_annotation(area=5))
case(77, "annotation", "annotation.iscrowd")(set_annotation(iscrowd=2))
case(78, "annotation", "annotation.not_finite")(set_annotation(score=float("nan")))
