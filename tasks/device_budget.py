"""How much of the pending work a run does, where its device may be held for so long only.

The batches that do not fit are left for a later run, which takes them first: the order is always
the same, and what is done is its beginning. Which fit is planned before the run, from seconds that
the tables have, so that the same tables and the same budget give the same plan on any engine.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from prefect import task
from prefect.cache_policies import NO_CACHE

from storage.lake import Lake
from storage.queries import named_query
from storage.session import connect
from tasks.device_use import seconds_text
from tasks.models import ModelChoice
from tasks.pending_images import PendingImage
from tasks.segment_batch import BatchSummary

OVERRUN = 1.5
"""A planned run ends early when it has taken so many times its budget: its plan was wrong."""

# Enough to smooth a batch that waited for its machine; few enough to follow a change soon.
_LATEST_UNITS = 20

Batch = Sequence[PendingImage]


@dataclass(frozen=True)
class DeviceSpeed:
    """How long a device took for an image, as the tables have it.

    Attributes:
        device: Its name.
        seconds_per_image: The mean, s.
        units: How many batches were looked at.
        images: How many images they had.
    """

    device: str
    seconds_per_image: float
    units: int
    images: int


@task(name="measured-speed", cache_policy=NO_CACHE)
def measured_speed(root: str, choice: ModelChoice, device: str | None) -> DeviceSpeed | None:
    """How long the latest batches of a model with its parameters took; None if there are none.

    Args:
        root: The data root.
        choice: The models of the run.
        device: Name of the device; None takes that of the newest batch.
    """
    parameters = {
        "model_id": choice.model_id,
        "params_id": choice.params_id,
        "device": device,
        "most": _LATEST_UNITS,
    }
    with connect(Lake.open(root)) as session:
        row = session.execute(named_query("device_speed"), parameters).fetchone()
    return None if row is None else DeviceSpeed(*row)


@dataclass(frozen=True)
class NightPlan:
    """Which batches a run does, and which it leaves.

    Attributes:
        tonight: Batches to do, in order.
        later: The batches after them.
        budget_seconds: How long the device may be held, s; None without a limit.
        speed: What was reckoned with; None where nothing was measured before.
    """

    tonight: list[list[PendingImage]]
    later: list[list[PendingImage]]
    budget_seconds: float | None
    speed: DeviceSpeed | None

    @property
    def expected_seconds(self) -> float | None:
        """How long tonight's batches hold the device, s; None where nothing was measured."""
        if self.speed is None:
            return None
        return sum(map(len, self.tonight)) * self.speed.seconds_per_image

    def may_begin(self, done: Sequence[BatchSummary], at_work: Sequence[Batch]) -> bool:
        """Whether another of tonight's batches may begin now; the first one always may.

        A plan is kept, though tonight's batches are somewhat slower or faster than those it was
        made from. Without one, batches begin until the budget is spent: those at work count with
        what is expected of them, and while nothing is known of that there is one at a time.

        Args:
            done: What the batches gave that have ended.
            at_work: The batches that have begun and not ended.
        """
        if self.budget_seconds is None or not (done or at_work):
            return True
        spent = sum(batch.device_seconds for batch in done)
        images = sum(batch.images + batch.quarantined for batch in done)
        limit = self.budget_seconds * (OVERRUN if self.speed else 1)
        if not at_work:
            return spent < limit
        if spent:
            each = spent / images
        elif self.speed:
            each = self.speed.seconds_per_image
        else:
            return False
        return spent + each * sum(map(len, at_work)) < limit

    def images_left(self, begun: int) -> int:
        """How many images are left when so many of tonight's batches have begun."""
        return sum(map(len, self.tonight[begun:])) + sum(map(len, self.later))

    def why_left(self, begun: int) -> str:
        """Why images are left, in a few words; empty if none is."""
        if self.budget_seconds is None or not self.images_left(begun):
            return ""
        budget = f"the budget of {seconds_text(self.budget_seconds)}"
        if self.speed is None:
            return f"{budget} is spent, and no batch was measured before that could be planned with"
        each = seconds_text(self.speed.seconds_per_image)
        if begun < len(self.tonight):
            return f"{budget} is overspent, for images took longer than {each} as planned"
        fit = int(self.budget_seconds / self.speed.seconds_per_image)
        images = "1 image" if fit == 1 else f"{fit:,} images"
        return f"{budget} is for {images} at {each} each, as measured on {self.speed.device}"


def plan_night(
    batches: list[list[PendingImage]], budget_seconds: float | None, speed: DeviceSpeed | None
) -> NightPlan:
    """Take batches in their order for as long as the budget is expected to last.

    The first batch is taken even if it does not fit, so that every run comes further. Where no
    speed is known all are taken, and `NightPlan.may_begin` decides while they are done.

    Args:
        batches: All pending batches, in order.
        budget_seconds: How long the device may be held, s; None without a limit.
        speed: What was measured before.
    """
    count = len(batches)
    if budget_seconds is not None and speed is not None:
        images = 0
        for number, batch in enumerate(batches):
            images += len(batch)
            if images * speed.seconds_per_image > budget_seconds and number > 0:
                count = number
                break
    return NightPlan(batches[:count], batches[count:], budget_seconds, speed)
