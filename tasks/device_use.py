"""What a run took of its device, what that cost, and which images it left for another run."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class DeviceUse:
    """What the models of a run took, and what was left.

    Attributes:
        seconds: How long each device was held, s, by its name.
        images_deferred: Images that are left for a later run, and stay pending.
        deferred_because: Why; empty where none is left.
        budget_seconds: How long the devices might be held, s; None without a limit.
        cost: What the seconds cost; None where no price is set.
        currency: What the cost is in, as ISO 4217 has it.
    """

    seconds: Mapping[str, float] = field(default_factory=dict)
    images_deferred: int = 0
    deferred_because: str = ""
    budget_seconds: float | None = None
    cost: float | None = None
    currency: str = "USD"

    @property
    def device_seconds(self) -> float:
        """Of all devices together, s."""
        return sum(self.seconds.values())

    def told(self) -> list[tuple[str, str]]:
        """What a person is told: (heading, line) pairs, none where there is nothing to tell."""
        lines = []
        if self.seconds:
            held = ", ".join(
                f"{seconds_text(seconds)} on {name}" for name, seconds in self.seconds.items()
            )
            price = "" if self.cost is None else f", {cost_text(self.cost, self.currency)}"
            lines.append(("device", held + price))
        if self.images_deferred:
            images = "1 image" if self.images_deferred == 1 else f"{self.images_deferred:,} images"
            lines.append(("deferred", f"{images}: {self.deferred_because}"))
        return lines


def cost_of(seconds: float, cost_per_hour: float | None) -> float | None:
    """What device seconds cost; None where no price is set.

    Args:
        seconds: How long the device was held, s.
        cost_per_hour: Its price.
    """
    return None if cost_per_hour is None else seconds / 3600 * cost_per_hour


def seconds_text(seconds: float) -> str:
    """Seconds as people read them, such as `12,345 s` or `0.74 s`."""
    return f"{seconds:,.0f} s" if seconds >= 100 else f"{seconds:.3g} s"


def cost_text(cost: float, currency: str) -> str:
    """A cost as people read it; cents alone would make nothing of a batch."""
    return f"{cost:,.2f} {currency}" if cost >= 1 else f"{cost:.4f} {currency}"
