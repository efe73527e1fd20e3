"""Tables of the models: which exist, which is live, how they were trained and measured."""

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
)

PROMOTIONS = table_schema(
    "One change of the live model; the last one counts.",
    column("promotion_id", pa.string(), "Id of the change."),
    column("model_id", pa.string(), "Model that became live."),
    column("previous_id", pa.string(), "Model that was live before.", nullable=True),
    column("evaluation_id", pa.string(), "Measurement that allowed it.", nullable=True),
    column("reason", pa.string(), "Why: gate, rollback or by hand."),
    column("promoted_at", TIMESTAMP, "When it became live.", "UTC"),
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
)
