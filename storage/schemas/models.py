"""Tables of the models: which exist, which is live and why, how they were trained and measured."""

import pyarrow as pa

from storage.schemas.fields import TIMESTAMP, column, table_schema

MODELS = table_schema(
    "One set of weights in the model store.",
    column("model_id", pa.string(), "Name with the start of the weights' hash."),
    column("kind", pa.string(), "segmenter or labeller."),
    column("prefix", pa.string(), "Where the files lie."),
    column("sha256", pa.string(), "Hash of the weights.", "sha256"),
    column("parent_id", pa.string(), "Model that it was trained from.", nullable=True),
    column("training_run_id", pa.string(), "Training that made it.", nullable=True),
    column("registered_at", TIMESTAMP, "When it was stored.", "UTC"),
    column("size_bytes", pa.int64(), "Size of the weights.", "bytes", nullable=True),
    column("source", pa.string(), "Reference that it was registered from.", nullable=True),
)

PROMOTIONS = table_schema(
    "One change of the live model; the last one counts.",
    column("promotion_id", pa.string(), "Id of the change."),
    column("model_id", pa.string(), "Model that became live."),
    column("previous_id", pa.string(), "Model that was live before.", nullable=True),
    column("evaluation_id", pa.string(), "Measurement that allowed it.", nullable=True),
    column("reason", pa.string(), "Why: gate, rollback or by hand."),
    column("promoted_at", TIMESTAMP, "When it became live.", "UTC"),
    # Rows that were written before these were there have none of them.
    column(
        "number", pa.int64(), "Which change it is, from 1; no number is missing.", nullable=True
    ),
    column("note", pa.string(), "What the person who decided says of it.", nullable=True),
    column("decision_id", pa.string(), "What the gate found.", nullable=True),
    column("promoted_by", pa.string(), "Account and machine that did it.", nullable=True),
    column("run_id", pa.string(), "The run that did it.", nullable=True),
)

GATE_DECISIONS = table_schema(
    "One look of the gate at a candidate beside the live model, whether it passed or not.",
    column("decision_id", pa.string(), "Hash of all that was decided on.", "sha256"),
    column("verdict", pa.string(), "promote or refuse."),
    column("candidate_id", pa.string(), "Model that wanted to become live."),
    column("live_id", pa.string(), "Model that was live."),
    column("candidate_evaluation_id", pa.string(), "Measurement of the candidate."),
    column("live_evaluation_id", pa.string(), "Measurement of the live model."),
    column(
        "rules",
        pa.list_(
            pa.struct(
                [
                    ("metric", pa.string()),
                    ("rule", pa.string()),
                    ("passed", pa.bool_()),
                    ("candidate", pa.float64()),
                    ("live", pa.float64()),
                    ("gain", pa.float64()),
                    ("low", pa.float64()),
                    ("high", pa.float64()),
                    ("images", pa.int64()),
                    ("words", pa.string()),
                ]
            )
        ),
        "Each rule: the means of both models, the gain with its confidence interval, and in words.",
    ),
    column("gate", pa.string(), "The gate's configuration.", "JSON"),
    column("decided_by", pa.string(), "Account and machine that asked.", nullable=True),
    column("run_id", pa.string(), "The run that asked.", nullable=True),
    column("decided_at", TIMESTAMP, "When it was decided.", "UTC"),
)

TRAINING_RUNS = table_schema(
    "One training of a model.",
    column("training_run_id", pa.string(), "Id of the training."),
    column("base_model_id", pa.string(), "Model that it started from."),
    column("config", pa.string(), "Full training configuration.", "JSON"),
    column("data_version", pa.string(), "Versions of the tables that were read.", "JSON"),
    column("seed", pa.int64(), "Seed of all random numbers."),
    column("steps", pa.int64(), "Optimiser steps that were taken.", "count"),
    column("annotations", pa.int64(), "Annotations that were trained on.", "count"),
    column("final_loss", pa.float64(), "Loss at the last step.", nullable=True),
    column("started_at", TIMESTAMP, "When it began.", "UTC"),
    column("ended_at", TIMESTAMP, "When it ended.", "UTC", nullable=True),
    column("state", pa.string(), "completed, failed or stopped."),
)

EVALUATIONS = table_schema(
    "One measured number of one model on one set of images.",
    column("evaluation_id", pa.string(), "Id of the measurement; its numbers share it."),
    column("model_id", pa.string(), "Model that was measured."),
    column("dataset", pa.string(), "Images it was measured on."),
    column("split", pa.string(), "Split it was measured on."),
    column("metric", pa.string(), "Name of the number."),
    column("value", pa.float64(), "The number."),
    column("images", pa.int64(), "Images that were measured.", "count"),
    column("evaluated_at", TIMESTAMP, "When it was measured.", "UTC"),
    column("params_id", pa.string(), "Parameters of the mask generator.", nullable=True),
    column("run_id", pa.string(), "The run that measured.", nullable=True),
    column(
        "per_image",
        pa.list_(
            pa.struct(
                [
                    ("image_id", pa.string()),
                    ("group_id", pa.string()),
                    ("measured", pa.list_(pa.float64())),
                ]
            )
        ),
        "What the number is the mean of: what was measured on each image (one number, or one an "
        "object), and the group of images that it belongs to, if any; null if it is no such mean.",
        nullable=True,
    ),
    column(
        "set_id",
        pa.string(),
        "Hash of the images, their true masks, and how the model was asked; null in older rows.",
        "sha256",
        nullable=True,
    ),
)
