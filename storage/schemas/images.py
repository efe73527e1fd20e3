"""Tables of what people brought: images and their annotations."""

import pyarrow as pa

from storage.schemas.fields import NUMBERS, TIMESTAMP, UNIT_ID, column, table_schema

IMAGES = table_schema(
    "One image as one drop brought it; the bytes are stored once for all drops.",
    UNIT_ID,
    column("image_id", pa.string(), "Hash of the file's bytes.", "sha256"),
    column("dataset", pa.string(), "Name of the collection the image belongs to."),
    column("source_id", pa.string(), "Image id in the COCO file, as given.", nullable=True),
    column("file_name", pa.string(), "Name of the file in the drop."),
    column("uri", pa.string(), "Where the stored image is."),
    column("width_px", pa.int64(), "Width after the EXIF orientation is applied.", "px"),
    column("height_px", pa.int64(), "Height after the EXIF orientation is applied.", "px"),
    column("exif_orientation", pa.int64(), "EXIF orientation of the file, 1 to 8."),
    column("split", pa.string(), "train, val or test; near-duplicates share one split."),
    column(
        "perceptual_hash",
        pa.string(),
        "64-bit difference hash of the picture, hexadecimal; near-duplicates differ in few bits.",
        nullable=True,
    ),
    column("drop_id", pa.string(), "The drop that brought the image."),
    column("ingested_at", TIMESTAMP, "When the image was stored.", "UTC"),
)

ANNOTATIONS = table_schema(
    "One annotated object, as a person or another tool drew it. Of a drop that was changed, "
    "annotations of the newest content count only.",
    UNIT_ID,
    column("dataset", pa.string(), "Name of the collection the annotation belongs to."),
    column("drop_id", pa.string(), "The drop that brought it.", nullable=True),
    column("annotation_id", pa.string(), "Annotation id in the COCO file, as given."),
    column("image_id", pa.string(), "The image it is drawn on.", "sha256"),
    column("category", pa.string(), "Name of the category."),
    column("bbox_xywh", NUMBERS, "Box around the mask: x, y, width, height.", "px"),
    column("area_px", pa.int64(), "Pixels in the mask.", "px"),
    column("iscrowd", pa.bool_(), "Whether the mask covers a group of objects."),
    column("segmentation_file", pa.string(), "Key of the mask PNG.", nullable=True),
    column("source", pa.string(), "Where it comes from: the drop's file, a review..."),
    column("rle", pa.string(), "Mask as compressed COCO counts."),
)
