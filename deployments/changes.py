"""What provisioning did to each thing, or in a dry run would do."""

from dataclasses import dataclass
from typing import Literal

Action = Literal["created", "updated", "replaced", "removed", "differs", "unchanged"]


@dataclass(frozen=True)
class Change:
    """What was done to one thing.

    Attributes:
        kind: `work pool` or `automation`.
        name: Its name.
        action: `differs` is what somebody changed by hand, and was left alone.
    """

    kind: str
    name: str
    action: Action

    @property
    def changes_something(self) -> bool:
        """Whether the server is, or would be, another one afterwards."""
        return self.action not in ("differs", "unchanged")

    def sentence(self, dry_run: bool) -> str:
        """What to tell a person."""
        if self.action == "unchanged":
            told = "already there"
        elif self.action == "differs":
            told = "already there, but not as in deployments/pools; --update makes it so"
        else:
            told = f"would be {self.action}" if dry_run else self.action
        return f"{self.kind} {self.name}: {told}"
