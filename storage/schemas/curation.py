"""Tables and views of curation: what was decided about segments, and what may be trained on."""

import pyarrow as pa

from storage.schemas.fields import TIMESTAMP, column, table_schema

RULES_PREFIX = "rules:"
"""What the reviewer's name begins with where rules decided, and not a person."""

REVIEWS = table_schema(
    "One decision about one segment. A person's counts before one of rules, and the last of each.",
    column("review_id", pa.string(), "Id of the decision, as its client gave it."),
    column("segment_id", pa.string(), "Segment that was looked at.", "hex"),
    column("image_id", pa.string(), "Image of the segment.", "sha256"),
    column(
        "decision",
        pa.string(),
        "accept, reject, relabel, fix (another mask), or reopen (undecided again).",
    ),
    column("label", pa.string(), "Label that was given instead.", nullable=True),
    column("reviewer", pa.string(), "Who decided: a person, or rules:HASH."),
    column("decided_at", TIMESTAMP, "When it was decided.", "UTC"),
    column(
        "version",
        pa.int64(),
        "Number of the decision about the segment, from 1; people's and rules' are counted apart.",
    ),
    column(
        "based_on",
        pa.int64(),
        "Number of the decision that the reviewer knew of, 0 for none; null if that was not told.",
        nullable=True,
    ),
    column("table_version", pa.int64(), "Version of this table that the decision came with."),
    column("area_px", pa.int64(), "Pixels in the mask that was given.", "px", nullable=True),
    column(
        "rle", pa.string(), "Mask that was given instead, compressed COCO counts.", nullable=True
    ),
)

CROSSINGS = table_schema(
    "One step of an occasion on which enough new curated masks had come together to train.",
    column("crossing_id", pa.string(), "Hash of the dataset and of what counted as seen before."),
    column(
        "state",
        pa.string(),
        "crossed, said (the event curation.ready has arrived), or begun (a training took it up).",
    ),
    column("dataset", pa.string(), "Name of the collection."),
    column("new_masks", pa.int64(), "Curated masks that were new.", "count"),
    column("needed_masks", pa.int64(), "New ones that make training worthwhile.", "count"),
    column("reviews_version", pa.int64(), "Version of the table reviews up to which they count."),
    column("annotations_until", TIMESTAMP, "When the last annotations of them were stored.", "UTC"),
    column("run_id", pa.string(), "The run that took this step.", nullable=True),
    column("taken_at", TIMESTAMP, "When it was taken.", "UTC"),
)

DECISIONS = table_schema(
    "The decision that counts of each segment; segments that nobody decided about are not here.",
    column("segment_id", pa.string(), "The segment.", "hex"),
    column("image_id", pa.string(), "Its image.", "sha256"),
    column("decision", pa.string(), "accept, reject, relabel or fix."),
    column("label", pa.string(), "Label that was given instead.", nullable=True),
    column("area_px", pa.int64(), "Pixels in the mask that was given.", "px", nullable=True),
    column(
        "rle", pa.string(), "Mask that was given instead, compressed COCO counts.", nullable=True
    ),
    column("reviewer", pa.string(), "Who decided."),
    column("by_rules", pa.bool_(), "Whether rules decided, and not a person."),
    column("version", pa.int64(), "Number of the decision."),
    column("decided_at", TIMESTAMP, "When it was decided.", "UTC"),
    column("table_version", pa.int64(), "Version of the table reviews since which it counts."),
)

CURATED = table_schema(
    "One mask with its label that may be trained on: a segment that was accepted, relabelled or "
    "fixed, or an annotation that came with a drop and is no crowd. Masks on images of several "
    "datasets are there once for each.",
    column("dataset", pa.string(), "Name of the collection."),
    column("image_id", pa.string(), "The image.", "sha256"),
    column(
        "source", pa.string(), "annotation, review (a person decided) or rules (only they did)."
    ),
    column("object_id", pa.string(), "Id of the segment or annotation."),
    column("label", pa.string(), "Label or category, as it was decided."),
    column("area_px", pa.int64(), "Pixels in the mask.", "px"),
    column("rle", pa.string(), "Mask as compressed COCO counts, as it was decided."),
    column(
        "model_id", pa.string(), "Model that cut the segment; null of annotations.", nullable=True
    ),
    column("reviewer", pa.string(), "Who decided; null of annotations.", nullable=True),
    column("curated_at", TIMESTAMP, "When it was decided, or the annotation's drop stored.", "UTC"),
    column(
        "reviews_version",
        pa.int64(),
        "Version of the table reviews since which the decision counts; null of annotations.",
        nullable=True,
    ),
)

NEWEST_CUTS = table_schema(
    "The newest of the cuts of each image, for which all segments of this image, model, parameters "
    "and label set are there. It may have found nothing.",
    column("image_id", pa.string(), "The image.", "sha256"),
    column("model_id", pa.string(), "Model that cut it.", nullable=True),
    column("params_id", pa.string(), "Parameters of the mask generator.", nullable=True),
    column("label_set_id", pa.string(), "Label set that segments were named with.", nullable=True),
    column("committed_at", TIMESTAMP, "When the cut was finished.", "UTC"),
)
