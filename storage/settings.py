"""Machine facts: where things are and what this machine can bear (`SEGMILL_*` variables)."""

import os
import re
from typing import Literal

from pydantic import Field, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from storage.addresses import require_plain


class Settings(BaseSettings):
    """Settings of one machine; what a single run should do is in the flows' request models."""

    # What does not fit may be a password or an address with a token, set in the wrong place.
    model_config = SettingsConfigDict(
        env_prefix="SEGMILL_", extra="ignore", hide_input_in_errors=True
    )

    root: str = Field(default="segmill-root", description="A local folder or s3://bucket/prefix.")
    model: str = Field(
        default="promoted",
        description="Segmenter: promoted, model:ID, demo, file:PATH or hub:ORGANISATION/NAME.",
    )
    clip_model: str = Field(
        default="demo", description="Labeller: demo, file:PATH or hub:ORG/NAME."
    )
    labels: str = Field(
        default="comic", description="A label set in configs/labels/, or a YAML file."
    )
    preset: str = Field(default="demo", description="Named parameters of the mask generator.")
    precision: Literal["exact", "fast"] = Field(
        default="exact",
        description="exact computes masks with 32 bits; fast with 16, with slightly other masks.",
    )
    device: str = Field(default="auto", description="auto, cpu, cuda, cuda:N or mps.")
    points_per_batch: int = Field(
        default=1024,
        ge=1,
        description="Points decoded at once on an accelerator; halved where memory is short.",
    )
    images_per_batch: int = Field(
        default=8,
        ge=1,
        description="Images encoded at once on an accelerator; halved where memory is short.",
    )
    compile: bool = Field(
        default=False,
        description="Compile the image encoder: slow the first time, faster from then on.",
    )

    engine: Literal["threads", "ray", "dask"] = Field(
        default="threads",
        description="Where a deployment's tasks run: threads of the worker, or a cluster.",
    )
    engine_address: str | None = Field(
        default=None,
        description="The cluster, such as ray://head:10001 or tcp://scheduler:8786; "
        "empty: one on this machine, as long as the run lasts.",
    )
    gpus_per_task: float = Field(
        default=0, ge=0, description="GPUs a task asks the cluster for, such as 1 or 0.5."
    )

    drop_quiet_seconds: float = Field(
        default=60,
        ge=0,
        description="A drop without _DONE is complete when unchanged for this long, s.",
    )
    quarantine_max_fraction: float = Field(
        default=0.3, ge=0, le=1, description="A run fails when a larger share of its input is bad."
    )
    curated_min_new: int = Field(
        default=500,
        ge=1,
        description="New curated masks that make the model worth fine-tuning.",
    )
    curated_min_per_label: int = Field(
        default=0,
        ge=0,
        description="Curated masks that a label needs for its new ones to count: of labels with "
        "fewer there is too little to learn from.",
    )
    curation_rules: str | None = Field(
        default=None,
        description="Rules by which the nightly run accepts segments: a name in configs/, such as "
        "curation, or a YAML file; empty: none are.",
    )
    reviewer: str | None = Field(
        default=None, description="Who decides in segmill review; empty: the user of the machine."
    )
    batch_images: int = Field(
        default=32,
        ge=1,
        description="Images in one unit of segmentation; what a killed run does again at most.",
    )

    gpu_seconds_per_image: float = Field(
        default=0.9,
        gt=0,
        description="Seconds an accelerator takes for an image; only dry runs reckon with it.",
    )

    gpu_seconds_budget: float | None = Field(
        default=None,
        gt=0,
        allow_inf_nan=False,
        description="Seconds that a run may hold the accelerator, or the processor where there is "
        "none; what does not fit waits for the next run. Empty: no limit.",
    )
    gpu_cost_per_hour: float | None = Field(
        default=None,
        ge=0,
        allow_inf_nan=False,
        description="What an hour of the device costs; empty: costs are not told.",
    )
    currency: str = Field(
        default="USD", pattern=r"^[A-Z]{3}$", description="What costs are in, as ISO 4217 has it."
    )

    max_image_px: int = Field(default=100_000_000, ge=1, description="Largest image, pixels.")
    max_image_bytes: int = Field(
        default=512 * 2**20, ge=1, description="Largest image file, bytes."
    )
    max_json_bytes: int = Field(
        default=1024 * 2**20, ge=1, description="Largest annotation file, bytes."
    )

    max_model_bytes: int = Field(
        default=5 * 2**30, ge=1, description="Largest weights of the model store, bytes."
    )
    models_cache: str = Field(
        default="~/.cache/segmill/fetched",
        description="Folder that keeps models of a root in a bucket, on this machine.",
    )
    models_cache_bytes: int = Field(
        default=20 * 2**30,
        ge=0,
        description="How large that folder may become; models that were not used for longest go.",
    )

    train_config: str | None = Field(
        default=None,
        description="Settings of the trainings that curation.ready starts, a YAML file; empty: "
        "configs/train.yaml.",
    )
    gate: str | None = Field(
        default=None,
        description="Rules by which they become live, a YAML file; empty: configs/gate.yaml.",
    )
    training_folder: str = Field(
        default="~/.cache/segmill/training",
        description="Folder for checkpoints, pictures and logs of trainings, on this machine.",
    )

    vacuum_retention_hours: int = Field(
        default=168,
        ge=1,
        description="How long maintenance keeps files that the newest tables do not need, h: older "
        "versions can be read, and writers take, as long as that.",
    )

    run_history_days: int = Field(
        default=30,
        ge=1,
        description="How long Prefect's records of ended runs are kept, days; the rows they wrote "
        "stay.",
    )
    notification_block: str | None = Field(
        default=None,
        description="Prefect block that tells of zombie runs, failed nights and bad input, such as "
        "slack-webhook/ops; only provisioning reads it.",
    )

    s3_endpoint_url: str | None = Field(
        default=None,
        description="An S3 server other than Amazon's; AWS_ENDPOINT_URL works as well.",
    )
    sqs_queue_url: str | None = Field(
        default=None,
        description="A queue of its own that gets the bucket's event notifications; empty: none.",
    )

    @field_validator("root", "s3_endpoint_url", "sqs_queue_url", "engine_address")
    @classmethod
    def _holds_no_secret(cls, address: str | None, field: ValidationInfo) -> str | None:
        require_plain(address, f"SEGMILL_{field.field_name}".upper())
        return address

    @field_validator("notification_block")
    @classmethod
    def _is_the_name_of_a_block(cls, name: str | None) -> str | None:
        if name and not re.fullmatch("[a-z0-9-]+/[a-z0-9-]+", name):
            # Not shown: the address of a webhook is as good as a password.
            raise ValueError("expected TYPE/NAME of a block, such as slack-webhook/ops")
        return name

    @property
    def s3_endpoint(self) -> str | None:
        """The S3 server other than Amazon's, from whichever variable names it.

        Raises:
            SecretInAddressError: If there is a password in it.
        """
        if self.s3_endpoint_url:
            return self.s3_endpoint_url
        for name in ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"):
            if endpoint := os.environ.get(name):
                require_plain(endpoint, name)
                return endpoint
        return None


def get_settings() -> Settings:
    """Read the settings from the environment as it is now.

    Raises:
        pydantic.ValidationError: If a variable has a value that is out of range.
    """
    return Settings()
