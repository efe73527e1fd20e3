"""The moving average of the weights, which is what is validated and kept."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch

Parameters = Mapping[str, torch.nn.Parameter]
Tensors = dict[str, torch.Tensor]


class Average:
    """An exponential moving average of parameters.

    Attributes:
        tensors: The average, by name.
    """

    def __init__(self, parameters: Parameters, decay: float) -> None:
        """Begin with the parameters as they are.

        Args:
            parameters: Those that learn, by name.
            decay: How much of the average a step keeps; fewer in the first steps, so that what
                training began with is soon forgotten. 0 makes the average the parameters.
        """
        self._parameters = parameters
        self._decay = decay
        self.tensors: Tensors = {n: p.detach().clone() for n, p in parameters.items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the parameters after a step, numbered from 0."""
        decay = min(self._decay, (1 + step) / (10 + step))
        for name, parameter in self._parameters.items():
            self.tensors[name].lerp_(parameter, 1 - decay)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Let the parameters have the average's values meanwhile."""
        before = {n: p.detach().clone() for n, p in self._parameters.items()}
        assign(self._parameters, self.tensors)
        try:
            yield
        finally:
            assign(self._parameters, before)


@torch.no_grad()
def assign(parameters: Parameters, values: Mapping[str, torch.Tensor]) -> None:
    """Give parameters the values of the same names."""
    for name, parameter in parameters.items():
        parameter.copy_(values[name])
