"""Every rule an input can break: what happens then, and what was expected instead.

Verdicts: `reject` refuses the whole drop, `image` and `annotation` set that one entry aside and
keep the rest, `note` only reports what was repaired or is unusual.
"""

from typing import Literal, NamedTuple

Verdict = Literal["reject", "annotation", "image", "note"]


class Rule(NamedTuple):
    """What follows when an input breaks a rule.

    Attributes:
        verdict: What happens to the input.
        expected: What would have been right, as a phrase.
    """

    verdict: Verdict
    expected: str


_REJECT = {
    "drop.archive": "unpacked files, not an archive",
    "drop.unreadable": "a file that may be read, and is not in an archive tier",
    "drop.unsafe_name": "plain names, and no link that leads out of the drop",
    "json.too_large": "a file within the size limit",
    "json.empty": "a COCO JSON object",
    "json.compressed": "plain JSON, not an archive",
    "json.encoding": "UTF-8",
    "json.truncated": "a complete JSON document",
    "json.trailing": "nothing after the JSON object",
    "json.syntax": "valid JSON",
    "json.too_deep": "a few levels of nesting",
    "json.integer_too_long": "integers of at most 4300 digits",
    "json.duplicate_key": "each key once per object",
    "json.surrogate": "whole Unicode characters",
    "json.nul": "strings without NUL",
    "json.not_finite": "a finite number",
    "document.type": "an object with images, annotations and categories",
    "document.no_images": "a list `images` with at least one entry",
    "document.annotations": "a list `annotations`",
    "document.no_categories": "a list `categories`",
    "id.too_large": "an id that fits 64 bits",
    "image.duplicate_id": "each image id once",
    "image.duplicate_file": "each file_name once",
    "category.type": "an object with id and name",
    "category.id": "an integer or a short string",
    "category.duplicate_id": "each category id once",
    "category.name": "a name of 1 to 256 characters",
    "path.empty": "a relative path",
    "path.parent": "a path inside the drop",
    "path.absolute": "a relative path",
    "path.backslash": "slashes between folders",
    "path.drive": "a relative path",
    "path.nul": "a path without NUL",
    "path.too_long": "at most 1024 bytes",
    "path.encoded_parent": "a path inside the drop",
    "path.control_character": "printable characters",
    "path.trailing": "no dot or space at the end of a name",
    "path.url": "a path, not an address",
    "path.same_when_normalised": "names that differ after Unicode normalisation",
}

_IMAGE = {
    "image.type": "an object with id and file_name",
    "image.id": "an integer or a short string",
    "image.file_name": "a file name",
    "image.size": "width and height as integers of at least 1",
    "image.size_unknown": "width and height, here or in a readable image file",
    "image.size_differs": "the width and height of the image file",
    "image.not_finite": "a finite number",
    "image.missing": "an image file of this name in the drop",
    "image.empty": "an image file",
    "image.unreadable": "a file that may be read, and is not in an archive tier",
    "image.format": "JPEG, PNG, WebP, TIFF or GIF",
    "image.too_large": "an image within the pixel limit",
    "image.animated": "one still picture",
    "image.pixel_type": "8- or 16-bit pixels",
    "image.truncated": "a complete image file",
    "image.corrupt": "an undamaged image file",
    "image.too_slow": "an image that is decoded within the time limit",
    "image.decoder_died": "an image that does not crash its decoder",
    "image.fails": "an image that the models can segment",
    "image.process_died": "an image that does not crash the process that segments it",
}

_ANNOTATION = {
    "annotation.type": "an object with id, image_id, category_id and segmentation",
    "annotation.id": "an integer or a short string",
    "annotation.duplicate_id": "each annotation id once",
    "annotation.not_finite": "a finite number",
    "annotation.image_id": "an integer or a short string",
    "annotation.image_unknown": "the id of an image in this file",
    "annotation.image_quarantined": "an image that was not set aside",
    "annotation.category_id": "an integer or a short string",
    "annotation.category_unknown": "the id of a category in this file",
    "annotation.iscrowd": "0 or 1",
    "annotation.score": "a number",
    "bbox.type": "four numbers below 2**53",
    "bbox.negative": "width and height of at least 0",
    "segmentation.missing": "polygons or RLE",
    "segmentation.null": "polygons or RLE",
    "segmentation.empty": "at least one polygon",
    "segmentation.type": "polygons or RLE",
    "polygon.type": "a list of numbers",
    "polygon.empty": "at least one polygon",
    "polygon.too_many_parts": "at most 5000 parts",
    "polygon.too_many_vertices": "at most 200000 points",
    "polygon.outline_too_long": "an outline of at most 500000 px",
    "polygon.value_type": "a number",
    "polygon.not_finite": "a finite number",
    "polygon.too_far": "a coordinate within four times the image",
    "polygon.odd": "x and y for every point",
    "polygon.too_short": "at least three points",
    "polygon.outside": "a polygon that touches the image",
    "polygon.zero_area": "a polygon that covers a pixel",
    "rle.size": "size [height, width] as integers of at least 1",
    "rle.size_swapped": "size as [height, width]",
    "rle.size_mismatch": "the size of the image",
    "rle.too_large": "a mask within the pixel limit",
    "rle.counts": "counts as a list or a string",
    "rle.count_type": "integers",
    "rle.negative": "run lengths of at least 0",
    "rle.count_too_large": "run lengths below 2**32",
    "rle.too_many_runs": "at most height * width + 1 runs",
    "rle.short": "counts that add up to height * width",
    "rle.long": "counts that add up to height * width",
    "rle.byte": "characters of COCO's compressed counts",
    "rle.unterminated": "complete compressed counts",
    "rle.empty": "at least one run",
    "rle.empty_mask": "a mask that covers a pixel",
    "mask_file.name": "a file name",
    "mask_file.missing": "a mask file of this name in the drop",
    "mask_file.too_large": "a mask file of at most 64 MiB",
    "mask_file.size_differs": "the width and height of the image",
    "mask_file.empty_mask": "a mask that covers a pixel",
    "mask_png.mode": "a gray PNG",
    "mask_png.corrupt": "an undamaged PNG",
    "mask_png.too_large": "a mask within the pixel limit",
    "panoptic.segments": "a list of segments",
    "panoptic.png_mode": "an RGB PNG of 8 bits",
    "panoptic.segment_missing": "the id of a segment, from 1, that the PNG shows",
    "panoptic.id_unknown": "PNG pixels whose id is in segments_info, or 0",
}

_NOTE = {
    "drop.file_unused": "images and COCO documents; other files are left alone",
    "image.turned": "pixels stored upright; the EXIF orientation is applied",
    "json.byte_order_mark": "UTF-8 without a byte order mark",
    "id.string": "an integer; digits in a string are read as one",
    "id.float": "an integer; a whole float is read as one",
    "category.new": "categories that the dataset has already; a renamed one is counted apart",
    "category.same_name": "each category name once; their annotations are counted together",
    "category.hidden_characters": "a name without invisible characters",
    "path.same_when_lowercased": "names that differ in more than case",
    "image.size_filled": "width and height; they are taken from the file",
    "polygon.flat_list": "a list of polygons; a flat list is read as one polygon",
    "polygon.clipped": "coordinates inside the image; the rest is clipped",
    "polygon.duplicate_ring": "each ring once",
    "polygon.crosses_itself": "simple rings; crossings follow the even-odd rule",
    "annotation.crowd_polygon": "RLE for a crowd",
    "annotation.instance_rle": "polygons for a single instance",
    "segmentation.file_not_read": "segmentation or segmentation_file; the first is read",
    "result.box_only": "a mask; the box is taken as one",
    "bbox.missing": "a box; it is computed from the mask",
    "bbox.differs": "the box of the mask; it is computed anew",
    "area.differs": "the area of the mask; it is computed anew",
}

_BY_VERDICT: dict[Verdict, dict[str, str]] = {
    "reject": _REJECT,
    "image": _IMAGE,
    "annotation": _ANNOTATION,
    "note": _NOTE,
}

RULES: dict[str, Rule] = {
    name: Rule(verdict, expected)
    for verdict, rules in _BY_VERDICT.items()
    for name, expected in rules.items()
}
