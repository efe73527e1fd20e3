"""What fine-tuning is told: settings with SAM 2's own values where it has any.

`configs/train.yaml` holds them all with comments; `vision.finetune.config_file` reads it. Values of
`auto` are filled in for the machine by `vision.finetune.hardware`.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Auto = Literal["auto"]
Part = Literal["decoder", "prompt_encoder", "neck", "trunk"]
PARTS: tuple[Part, ...] = ("decoder", "prompt_encoder", "neck", "trunk")

Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]
AtLeastNone = Annotated[int, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
Weight = Annotated[float, Field(ge=0)]


class _Section(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)


class ModelSection(_Section):
    """Which weights are trained.

    Attributes:
        base: The model to begin with, as `segmill segment --model` takes it; `promoted` is for
            callers that know a root.
        train: Parts whose weights change; the others stay as they are. SAM 2 trains all.
        lora_rank: Above 0, the trunk learns through adapters of this rank on its attention (LoRA),
            which are merged into its weights at the end, and these stay as they are meanwhile.
        lora_alpha: Adapters count alpha / rank; None for twice the rank.
    """

    base: str = "promoted"
    train: Auto | Annotated[tuple[Part, ...], Field(min_length=1)] = "auto"
    lora_rank: Annotated[int, Field(ge=0, le=256)] = 0
    lora_alpha: Count | None = None

    @model_validator(mode="after")
    def _trunk_once(self) -> "ModelSection":
        if self.lora_rank and self.train != "auto" and "trunk" in self.train:
            raise ValueError(
                "the trunk is trained whole (train) or through adapters (lora_rank), not both"
            )
        return self


class DataSection(_Section):
    """How images become batches.

    Attributes:
        image_size: Side in pixels of the square the model looks at, a multiple of 32; `auto` for
            the model's own.
        batch_images: Images a device works on at once.
        accumulate: Batches whose gradients are added up for one step.
        masks_per_image: At most so many masks of an image are learnt from in one step.
        mask_stride_px: Masks are compared at every so many pixels of the square. SAM 2 takes 1.
        min_mask_px: Masks of fewer pixels of the square are left out.
        workers: Processes that read images; 0 reads them in the process that trains. They are
            spawned, so a script that trains with them needs `if __name__ == "__main__"`.
        val_share: Share of the images kept for validation, in whole groups, where no split is
            given; 0 for none. Images of one group cannot be divided.
        max_val_images: Validation gets no more than these; where they are drawn, the others are
            learnt from.
    """

    image_size: Auto | Annotated[int, Field(ge=64, multiple_of=32)] = "auto"
    batch_images: Auto | Count = "auto"
    accumulate: Auto | Count = "auto"
    masks_per_image: Auto | Count = "auto"
    mask_stride_px: Auto | Literal[1, 2, 4] = "auto"
    min_mask_px: Count = 16
    workers: Auto | AtLeastNone = "auto"
    val_share: Annotated[float, Field(ge=0, le=0.5)] = 0.1
    max_val_images: Count = 200


class PromptsSection(_Section):
    """How the model is asked while it learns; defaults are what SAM 2 does with single images.

    Attributes:
        point: Probability that a batch begins with a point inside each object.
        box: ... with a box around it.
        mask: ... with a rough mask of it.
        correction_clicks: Clicks that follow, each where the last mask is wrong.
        from_truth: Probability that such a click lands anywhere in the object instead.
        box_noise: Corners of boxes are moved by up to this share of the box's sides.
        box_noise_px: ... but by no more pixels than this. Rough masks are moved likewise.
    """

    point: Share = 0.5
    box: Share = 0.5
    mask: Share = 0.0
    correction_clicks: Annotated[int, Field(ge=0, le=20)] = 7
    from_truth: Share = 0.1
    box_noise: Share = 0.1
    box_noise_px: Weight = 20.0

    @model_validator(mode="after")
    def _one_in_all(self) -> "PromptsSection":
        total = self.point + self.box + self.mask
        if abs(total - 1) > 1e-6:
            raise ValueError(f"point, box and mask must add up to 1, but make {total:g}")
        return self


class LossesSection(_Section):
    """Weights of the losses, as `training/loss_fns.py` of SAM 2 adds them up.

    Attributes:
        mask: Of the focal loss.
        dice: Of the dice loss.
        iou: Of the error of the predicted IoU (L1).
        object: Of whether there is an object (cross-entropy).
        focal_alpha: What pixels of the object weigh in the focal loss; the others weigh the rest.
        focal_gamma: How much less the focal loss minds pixels that are nearly right.
    """

    mask: Weight = 20.0
    dice: Weight = 1.0
    iou: Weight = 1.0
    object: Weight = 1.0
    focal_alpha: Share = 0.25
    focal_gamma: Weight = 2.0


class OptimizerSection(_Section):
    """AdamW and its learning rates.

    Attributes:
        lr: Of the decoder and the prompt encoder.
        encoder_lr: Of the image encoder: trunk and neck.
        layer_decay: Each block of the trunk learns by this factor slower than the next one.
        weight_decay: Of all but biases and norms.
        warmup_steps: Steps over which rates grow to their full size.
        final_lr_share: Rates fall to this share by the end, along a cosine.
        clip_norm: Longer gradients are cut to this length.
    """

    lr: Positive = 5e-6
    encoder_lr: Positive = 3e-6
    layer_decay: Annotated[float, Field(gt=0, le=1)] = 0.9
    weight_decay: Weight = 0.1
    warmup_steps: AtLeastNone = 50
    final_lr_share: Share = 0.1
    clip_norm: Positive = 0.1


class EmaSection(_Section):
    """The average of the weights over the last steps, which is what is kept.

    Attributes:
        decay: How much of the average a step keeps; fewer in the first steps. 0 for no average.
    """

    decay: Annotated[float, Field(ge=0, lt=1)] = 0.999


class AugmentationSection(_Section):
    """How images are changed, anew each time they are seen.

    Attributes:
        flip: Probability of being mirrored left to right.
        crop: Probability that a part of the image is shown.
        crop_least: Smallest side of such a part, as a share of the image's.
        brightness: Largest change, as a share.
        contrast: Likewise.
        saturation: Likewise.
        gray: Probability of losing all colour.
        scan_noise: Probability of the marks of a scan: blur, grain, shade and JPEG's blocks.
    """

    flip: Share = 0.5
    crop: Share = 0.5
    crop_least: Annotated[float, Field(gt=0, le=1)] = 0.5
    brightness: Share = 0.1
    contrast: Share = 0.1
    saturation: Share = 0.1
    gray: Share = 0.05
    scan_noise: Share = 0.2


class LimitsSection(_Section):
    """When training ends: at the first of these.

    Attributes:
        epochs: Times every image has been seen.
        steps: Steps of the optimizer.
        minutes: Time, over all attempts. Learning rates then follow the clock where that is ahead
            of the steps, so that two runs differ.
    """

    epochs: Count | None = 40
    steps: Count | None = None
    minutes: Positive | None = None

    @model_validator(mode="after")
    def _some_end(self) -> "LimitsSection":
        if self.epochs is None and self.steps is None:
            raise ValueError("epochs or steps must be set; minutes alone give no schedule")
        return self


class EarlyStoppingSection(_Section):
    """Ending sooner, when validation no longer gets better.

    Attributes:
        patience_epochs: Validations without a gain before training ends; 0 for never.
        min_gain: Smallest gain in mIoU that counts.
    """

    patience_epochs: AtLeastNone = 10
    min_gain: Weight = 0.0005


class ValidationSection(_Section):
    """Validation: one click in the middle of each object, the mask the model rates best.

    Attributes:
        every_epochs: Epochs between two validations.
        masks_per_image: At most so many objects of an image are clicked on.
        at_start: Validate the weights that training begins with too: they are kept if nothing
            better is found.
        pictures: Images whose masks are drawn at each validation.
    """

    every_epochs: Count = 1
    masks_per_image: Count = 16
    at_start: bool = True
    pictures: AtLeastNone = 4


class CheckpointsSection(_Section):
    """What is kept to go on from.

    Attributes:
        every_steps: Steps between two checkpoints; None for one after each validation only.
        keep: How many of the newest are kept.
    """

    every_steps: Count | None = None
    keep: Annotated[int, Field(ge=2)] = 2


class TrackersSection(_Section):
    """Where the course of a run is logged; each needs the extra `tracking`.

    Attributes:
        use_tensorboard: `auto` where it is installed.
        use_wandb: Weights & Biases.
        use_mlflow: MLflow, at `MLFLOW_TRACKING_URI`.
        project: The project's or experiment's name there.
    """

    use_tensorboard: Auto | bool = "auto"
    use_wandb: bool = False
    use_mlflow: bool = False
    project: Annotated[str, Field(min_length=1, max_length=100)] = "segmill"


class TrainConfig(_Section):
    """All settings of a fine-tuning run.

    Attributes:
        seed: Of everything drawn; two runs with the same seed, data and machine are equal.
        precision: `bf16` computes with 16 bits where that matters little; `auto` where the
            accelerator is fast in it.
        device: `auto` takes an accelerator if there is one.
    """

    model: ModelSection = ModelSection()
    data: DataSection = DataSection()
    prompts: PromptsSection = PromptsSection()
    losses: LossesSection = LossesSection()
    optimizer: OptimizerSection = OptimizerSection()
    ema: EmaSection = EmaSection()
    augmentation: AugmentationSection = AugmentationSection()
    limits: LimitsSection = LimitsSection()
    early_stopping: EarlyStoppingSection = EarlyStoppingSection()
    validation: ValidationSection = ValidationSection()
    checkpoints: CheckpointsSection = CheckpointsSection()
    trackers: TrackersSection = TrackersSection()
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 7
