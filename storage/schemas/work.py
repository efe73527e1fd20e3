"""Tables of the work itself: sealed drops, finished units, and what was refused."""

import pyarrow as pa

from storage.schemas.fields import STRINGS, TIMESTAMP, UNIT_ID, column, table_schema

DROPS = table_schema(
    "One complete set of files that people put into the inbox.",
    column("drop_id", pa.string(), "Hash of the names and contents of the files.", "sha256"),
    column("dataset", pa.string(), "Name of the collection the drop belongs to."),
    column("prefix", pa.string(), "Where the files lie: an object prefix, folder or URI."),
    column("sealed_at", TIMESTAMP, "When the drop was found complete.", "UTC"),
    column("objects", pa.int64(), "Number of files.", "count"),
    column("bytes", pa.int64(), "Size of all files together.", "bytes"),
    column(
        "files",
        pa.list_(
            pa.struct([("key", pa.string()), ("size_bytes", pa.int64()), ("version", pa.string())])
        ),
        "Every file with its size and version (etag, or time and size of a local file).",
    ),
)

UNITS = table_schema(
    "One finished unit of work; rows of other tables count only when their unit is here.",
    UNIT_ID,
    column("stage", pa.string(), "Kind of work: ingest, segment, stats..."),
    column("subject", pa.string(), "What was worked on: a drop, or a batch of images."),
    column("inputs", pa.int64(), "Number of inputs.", "count"),
    column("outputs", pa.int64(), "Number of rows written to other tables.", "count"),
    column("run_id", pa.string(), "The run that did it.", nullable=True),
    column("committed_at", TIMESTAMP, "When the unit was finished.", "UTC"),
    column("image_ids", STRINGS, "Images that are finished by this unit.", "sha256"),
    column("model_id", pa.string(), "Model that was used.", nullable=True),
    column("params_id", pa.string(), "Parameters that were used.", nullable=True),
    column("label_set_id", pa.string(), "Label set that was used.", nullable=True),
    column(
        "device_seconds",
        pa.float64(),
        "How long the models held the device; null where none was used, or it was not measured.",
        "s",
        nullable=True,
    ),
    column(
        "device",
        pa.string(),
        "What they computed on: cpu, or the name of the accelerator.",
        nullable=True,
    ),
    column(
        "dataset",
        pa.string(),
        "Dataset that it was done for; null in rows from before there was this column.",
        nullable=True,
    ),
)

QUARANTINE = table_schema(
    "One input that was refused, with the place and the reason.",
    UNIT_ID,
    column("dataset", pa.string(), "Name of the collection its drop belongs to."),
    column("drop_id", pa.string(), "The drop that brought it."),
    column("file", pa.string(), "File that is wrong."),
    column("pointer", pa.string(), "JSON pointer into the file; empty for the whole file."),
    column("rule", pa.string(), "Name of the rule that was broken."),
    column("value", pa.string(), "What was found, at most 80 escaped characters."),
    column("expected", pa.string(), "What the rule asks for.", nullable=True),
    column("stage", pa.string(), "Step that refused it: ingest, segment..."),
    column("at", TIMESTAMP, "When it was refused.", "UTC"),
)
