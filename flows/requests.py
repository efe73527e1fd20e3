"""What a run should do: one request model a flow, its only parameter."""

from typing import Annotated, Literal, TypedDict

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from storage.addresses import require_plain
from storage.settings import Settings

Dataset = Annotated[
    str,
    Field(
        max_length=60,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$",
        description="The dataset the images belong to.",
    ),
]
Rules = Annotated[
    str | None,
    Field(description="Rules by which segments are accepted: a name in configs/, or a YAML file."),
]


def _without_secret(source: str | None) -> str | None:
    require_plain(source, "source")
    return source


Source = Annotated[
    str | None,
    AfterValidator(_without_secret),
    Field(description="Folder or s3://bucket/prefix that is one drop; empty: all of the inbox."),
]


class ModelNames(TypedDict):
    """Names of a run's models, as references, label set and preset; the root that has them."""

    model: str
    clip_model: str
    labels: str
    preset: str
    precision: Literal["exact", "fast"]
    root: str


class Request(BaseModel):
    """Base of the request models: unknown fields are refused, not ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    dataset: Dataset = "default"


class ModelRequest(Request):
    """A request that names models; what is empty comes from the machine's settings."""

    model: Annotated[
        str | None,
        Field(description="Segmenter: promoted, model:ID, demo, file:PATH or hub:ORG/NAME."),
    ] = None
    clip_model: Annotated[
        str | None, Field(description="Labeller: demo, file:PATH or hub:ORG/NAME.")
    ] = None
    labels: Annotated[
        str | None, Field(description="A label set in configs/labels/, or a YAML file.")
    ] = None
    preset: Annotated[str | None, Field(description="Named parameters of the mask generator.")] = (
        None
    )

    precision: Annotated[
        Literal["exact", "fast"] | None,
        Field(description="exact: 32 bits; fast: 16 bits, with slightly other masks."),
    ] = None

    def models(self, settings: Settings) -> ModelNames:
        """What to load, by name."""
        return {
            "model": self.model or settings.model,
            "clip_model": self.clip_model or settings.clip_model,
            "labels": self.labels or settings.labels,
            "preset": self.preset or settings.preset,
            "precision": self.precision or settings.precision,
            "root": settings.root,
        }


class WorkRequest(ModelRequest):
    """A request to run models, for so long."""

    gpu_seconds_budget: Annotated[
        float | None,
        Field(
            gt=0,
            allow_inf_nan=False,
            description="Seconds the models may hold their device; the rest waits for a later run.",
        ),
    ] = None

    def budget_seconds(self, settings: Settings) -> float | None:
        """How long the models may hold their device, s; None without a limit."""
        return self.gpu_seconds_budget or settings.gpu_seconds_budget


class WatchRequest(Request):
    """Look for complete drops in the inbox."""


class IngestRequest(Request):
    """Take drops in."""

    source: Source = None


class ModelIds(BaseModel):
    """What models, parameters and labels are, whatever they are called on a machine."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model_id: str
    params_id: str
    label_set_id: str


class SegmentRequest(WorkRequest):
    """Cut and name what is on the images that these models have not done."""

    expected: Annotated[
        ModelIds | None,
        Field(description="What the models must turn out to be here; else nothing is done."),
    ] = None

    max_batches: Annotated[
        int | None, Field(ge=1, description="Stop after so many; empty: all of them.")
    ] = None


class StatsRequest(ModelRequest):
    """Count what these models found."""


class CurateRequest(Request):
    """Accept segments by rules, and see whether training has become worthwhile."""

    rules: Rules = None
    labels: Annotated[str | None, Field(description="The label set that the rules are for.")] = None


class EvaluateRequest(Request):
    """Measure a model on the held-back images of a dataset."""

    model: Annotated[
        str | None,
        Field(
            description="The model: promoted, model:ID, demo, file:PATH or hub:ORG/NAME; empty: "
            "that of the machine's settings."
        ),
    ] = None
    split: Annotated[
        str | None,
        Field(description="Which images; empty: test, or val where test has nothing."),
    ] = None
    max_images: Annotated[
        int | None, Field(ge=1, description="At most so many, the same ones for each model.")
    ] = None
    automatic: Annotated[
        bool, Field(description="Also look at the masks that the model finds by itself.")
    ] = True
    again: Annotated[bool, Field(description="Measure also what was measured before.")] = False


class NightlyRequest(WorkRequest):
    """Ingest, segment, count, accept by rules, and see whether training has become worthwhile."""

    source: Source = None
    rules: Rules = None
    report: Annotated[bool, Field(description="Write a page to reports/ at the end.")] = True
    segment_deployment: Annotated[
        str | None,
        Field(
            pattern=r"^[^/]+/[^/]+$",
            description="Deployment that segments, such as segment/on-ingest, on a machine with a "
            "GPU; empty: the run itself does, where it is.",
        ),
    ] = None
    segment_silence_seconds: Annotated[
        float,
        Field(
            gt=0,
            allow_inf_nan=False,
            description="Seconds without a sign that a worker does the run of segment_deployment, "
            "or will when it is its turn; then the night goes on without it, and fails at the end.",
        ),
    ] = 3600
    segment_most_seconds: Annotated[
        float,
        Field(
            gt=0,
            allow_inf_nan=False,
            description="Seconds after which the night goes on without the run of "
            "segment_deployment in any case, and fails at the end.",
        ),
    ] = 72_000


class MaintainRequest(BaseModel):
    """Merge small files of the tables, delete old ones, and the records of old runs."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    dry_run: Annotated[bool, Field(description="Say what would be done; change nothing.")] = False


class FinetuneRequest(Request):
    """Fine-tune the live model on curated masks; make the result live if it is better."""

    crossing_id: Annotated[
        str | None,
        Field(description="The occasion of the event curation.ready; empty: train in any case."),
    ] = None
    model: Annotated[
        str | None,
        Field(description="What to begin with; empty: model.base of the settings of training."),
    ] = None
    config: Annotated[
        str | None, Field(description="Settings of training, YAML; empty: those of the machine.")
    ] = None
    overrides: Annotated[
        tuple[str, ...], Field(description="Single settings, such as limits.minutes=30.")
    ] = ()
    gate: Annotated[
        str | None, Field(description="Rules of promotion, YAML; empty: those of the machine.")
    ] = None
    split: Annotated[
        str | None,
        Field(description="The split that both models are measured on; empty: test, or else val."),
    ] = None
    max_images: Annotated[
        int | None, Field(ge=1, description="Measure on no more images than these.")
    ] = None
    promote: Annotated[
        bool, Field(description="Make it live if the gate lets it; else only register it.")
    ] = True
