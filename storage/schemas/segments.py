"""Tables of what the models found, and its statistics."""

import pyarrow as pa

from storage.schemas.fields import NUMBERS, TIMESTAMP, UNIT_ID, column, table_schema

SEGMENTS = table_schema(
    "One mask that a model cut out of an image, with its label.",
    UNIT_ID,
    column("segment_id", pa.string(), "Half a sha256 of image, model, parameters and mask.", "hex"),
    column("image_id", pa.string(), "The image it was cut from.", "sha256"),
    column("source", pa.string(), "How it was found: automatic, panoptic, video or click."),
    column("model_id", pa.string(), "Model that cut it."),
    column("params_id", pa.string(), "Parameters of the mask generator."),
    column("label_set_id", pa.string(), "Label set it was named with."),
    column("label", pa.string(), "Best label, or unknown."),
    column("score", pa.float64(), "Probability of the label.", "0-1", nullable=True),
    column("margin", pa.float64(), "Lead over the second label.", "0-1", nullable=True),
    column(
        "top",
        pa.list_(
            pa.struct(
                [
                    ("label", pa.string()),
                    ("cosine", pa.float64()),
                    ("probability", pa.float64()),
                ]
            )
        ),
        "Best labels with cosine similarity (-1 to 1) and probability (0 to 1), best first.",
    ),
    column("area_px", pa.int64(), "Pixels in the mask.", "px"),
    column("bbox_xywh", NUMBERS, "Box around the mask: x, y, width, height.", "px"),
    column("predicted_iou", pa.float64(), "Mask quality as the model says.", "0-1", nullable=True),
    column(
        "stability_score",
        pa.float64(),
        "How little the mask changes with its threshold.",
        "0-1",
        nullable=True,
    ),
    column("point_xy", NUMBERS, "Prompt point that gave the mask: x, y.", "px", nullable=True),
    column(
        "crop_box_xywh",
        NUMBERS,
        "Part of the image that was looked at: x, y, width, height.",
        "px",
        nullable=True,
    ),
    column("parent_id", pa.string(), "Segment that this one is a part of.", nullable=True),
    column("isthing", pa.bool_(), "Countable object, not stuff.", nullable=True),
    column("frame", pa.int64(), "Number of the video frame, from 0.", nullable=True),
    column("track_id", pa.string(), "Object through a video.", nullable=True),
    column("run_id", pa.string(), "The run that found it.", nullable=True),
    column("created_at", TIMESTAMP, "When it was found.", "UTC"),
    column("code_version", pa.string(), "Version of the program.", nullable=True),
    column("rle", pa.string(), "Mask as compressed COCO counts."),
)

IMAGE_LABELS = table_schema(
    "What there is of one label on one image, as one model cut it: what statistics are merged "
    "from, so that no mask is read twice.",
    UNIT_ID,
    column("image_id", pa.string(), "The image.", "sha256"),
    column("model_id", pa.string(), "Model that cut the segments."),
    column("params_id", pa.string(), "Parameters of the mask generator."),
    column("label_set_id", pa.string(), "Label set they were named with."),
    column("label", pa.string(), "The label."),
    column("count", pa.int64(), "Number of segments.", "count"),
    column("total_area_px", pa.int64(), "Sum of the masks' areas.", "px"),
    column("union_area_px", pa.int64(), "Pixels covered by at least one mask.", "px"),
)

LABEL_STATS = table_schema(
    "Statistics of one label in one dataset, as one model cut it.",
    UNIT_ID,
    column("dataset", pa.string(), "Name of the collection."),
    column("model_id", pa.string(), "Model that cut the segments."),
    column("params_id", pa.string(), "Parameters of the mask generator.", nullable=True),
    column("label_set_id", pa.string(), "Label set they were named with."),
    column("label", pa.string(), "The label."),
    column("count", pa.int64(), "Number of segments.", "count"),
    column("images", pa.int64(), "Images with at least one such segment.", "count"),
    column("total_area_px", pa.int64(), "Sum of the masks' areas.", "px"),
    column(
        "union_area_px",
        pa.int64(),
        "Pixels covered by at least one mask; null where it was not computed.",
        "px",
        nullable=True,
    ),
    column("mean_area_px", pa.float64(), "Mean area of a mask.", "px"),
    column("median_area_px", pa.float64(), "Median area of a mask.", "px"),
    column("min_area_px", pa.int64(), "Smallest mask.", "px"),
    column("max_area_px", pa.int64(), "Largest mask.", "px"),
    column("mean_score", pa.float64(), "Mean probability of the label.", "0-1", nullable=True),
    column(
        "unknown_share",
        pa.float64(),
        "Share of unknown among all segments of the same dataset, model and label set.",
        "0-1",
    ),
    column("computed_from", pa.int64(), "Version of the segments table that was read."),
)
