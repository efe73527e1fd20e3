"""What a report says, as plain values."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Protocol

from tasks.device_use import DeviceUse


class Progress(Protocol):
    """Told how far a stage of the work has come."""

    def __call__(self, stage: str, done: int, total: int | None, detail: str = "") -> None:
        """Report progress.

        Args:
            stage: what is being done, in a word or two; each stage has its own bar.
            done: units finished so far.
            total: units in all, or None while unknown; the stage is over at `done == total`.
            detail: a few words on the present unit.
        """


@dataclass(frozen=True)
class LabelRow:
    """Statistics of one label; areas in pixels of the original images."""

    label: str
    count: int
    images: int
    total_area_px: float
    mean_area_px: float
    median_area_px: float
    mean_score: float | None


@dataclass(frozen=True)
class QuarantineRow:
    """One thing set aside: where (`pointer` is a JSON pointer), and which rule it broke."""

    file: str
    pointer: str
    rule: str
    value: str
    stage: str


@dataclass(frozen=True)
class StageTime:
    """How long a stage took, and a few words on what it did."""

    stage: str
    seconds: float
    detail: str = ""


@dataclass(frozen=True)
class Totals:
    """Numbers of the summary.

    Attributes:
        pages: images stored.
        masks: ground-truth annotations stored.
        segments: masks the model made.
        labels: distinct labels given, `unknown` not counted.
        quarantined: files and annotations set aside.
    """

    pages: int
    masks: int
    segments: int
    labels: int
    quarantined: int


@dataclass(frozen=True)
class NameTag:
    """A segment's name written in a picture: text and box, in picture pixels."""

    text: str
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class Shape:
    """A segment drawn in a picture.

    Attributes:
        label: its name.
        score: of the label, 0-1, or None where it has none.
        area_px: its size.
        path: outline, the `d` of an SVG path in picture pixels.
        tag: its written name, or None where there is no room for it.
    """

    label: str
    score: float | None
    area_px: int
    path: str
    tag: NameTag | None = None


@dataclass(frozen=True)
class PageOverlay:
    """A picture and its segments, the largest first so that small ones lie on top."""

    image_id: str
    name: str
    width_px: int
    height_px: int
    picture: bytes
    media_type: str
    shapes: tuple[Shape, ...]


@dataclass(frozen=True)
class ReportData:
    """All that a report shows.

    Attributes:
        title: heading.
        dataset: name of the dataset, or of several.
        created_at: when the report was made, with a time zone.
        totals: numbers of the summary.
        labels: one row per label, the most frequent first.
        quarantine: what was set aside, or the first part of it; `totals` has the number.
        stages: in the order they ran.
        device: what the run took of its device, and which images it left; None where none ran.
        pages: pictures of the gallery.
        facts: (name, value) pairs such as model and label set.
        next_commands: (what it does, command) pairs to try next.
    """

    title: str
    dataset: str
    created_at: datetime
    totals: Totals
    labels: tuple[LabelRow, ...] = ()
    quarantine: tuple[QuarantineRow, ...] = ()
    stages: tuple[StageTime, ...] = ()
    device: DeviceUse | None = None
    pages: tuple[PageOverlay, ...] = ()
    facts: tuple[tuple[str, str], ...] = ()
    next_commands: tuple[tuple[str, str], ...] = field(default=())


def report_json(data: ReportData) -> Mapping[str, Any]:
    """The figures of a report as JSON-ready values, without its pictures."""
    return {
        "title": data.title,
        "dataset": data.dataset,
        "created_at": data.created_at.isoformat(),
        "totals": vars(data.totals),
        "labels": [vars(row) for row in data.labels],
        "quarantine": [vars(row) for row in data.quarantine],
        "stages": [vars(row) for row in data.stages],
        "device": None if data.device is None else asdict(data.device),
        "facts": dict(data.facts),
    }
