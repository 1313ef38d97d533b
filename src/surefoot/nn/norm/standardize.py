"""A stream of values comes in, standardised by all that was seen so far it goes out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from surefoot.nn.norm.errors import NormError
from surefoot.nn.norm.moments import (
    Moments,
    merged,
    moments_of,
    no_moments,
    of_all_processes,
)


class Standardize(nn.Module):
    """Inputs with mean 0 and variance 1, by the statistics of all that it has seen.

    y = (x - μ)/σ for each feature. In training mode a pass first adds its values, in
    evaluation mode nothing is added. A feature that does not vary, or not beyond
    rounding, has σ = 1 rather than 0, as with scikit-learn's StandardScaler; before any
    value μ = 0 and σ = 1. Chunks of any size give what the whole would, to rounding.

    `total`, `mean` and `squares` are buffers in float64 and stay so when the model is
    converted: they are a sum over all steps. Statistics are no part of the graph.

    Shapes: input `[*, F]`, mask `[*]` of booleans, True where there is data; what is
    masked is not counted, and comes out like the rest.

    Args:
        features: F.
        synced: in training mode add the values of all processes, not only its own.
        device: of the buffers.

    Raises:
        NormError: another number of features, or a mask that does not fit.

    >>> norm = Standardize(1)
    >>> _ = norm(torch.tensor([[1.0], [3.0]]))
    >>> norm(torch.tensor([[5.0], [7.0]]))[-1].item()  # of 1, 3, 5, 7
    1.3416407108306885
    """

    total: Tensor
    mean: Tensor
    squares: Tensor

    def __init__(
        self,
        features: int,
        *,
        synced: bool = False,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__()
        self.features = features
        self.synced = synced
        for name, value in no_moments(features, device=device)._asdict().items():
            self.register_buffer(name, value)

    def forward(self, input: Tensor, mask: Tensor | None = None) -> Tensor:
        """Standardise `[*, F]`; in training mode count it first."""
        if self.training:
            self.add(input, mask)
        self._check(input)
        mean, scale = self._in(input)
        return (input - mean) / scale

    def inverse(self, output: Tensor) -> Tensor:
        """What would have given this output: y·σ + μ."""
        self._check(output)
        mean, scale = self._in(output)
        return output * scale + mean

    @property
    def moments(self) -> Moments:
        """What was seen so far."""
        return Moments(self.total, self.mean, self.squares)

    @property
    def scale(self) -> Tensor:
        """σ `[F]`, 1 for features that do not vary.

        What rounding alone would give a constant is no variance: nε σ² + (nεμ)² bounds
        the error of its sum of squares (Chan, Golub & LeVeque 1983, equation 1.6).
        """
        variance = self.moments.variance()
        rounding = self.total * torch.finfo(variance.dtype).eps
        constant = variance <= rounding * variance + (rounding * self.mean).square()
        return torch.where(constant, 1.0, variance.sqrt())

    @torch.no_grad()
    def add(self, values: Tensor, mask: Tensor | None = None) -> None:
        """Count values `[*, F]`, of those that a mask leaves, without an output."""
        self._check(values)
        new = moments_of(values, mask)
        self._take(merged(self.moments, of_all_processes(new) if self.synced else new))

    @torch.no_grad()
    def merge(self, other: Standardize) -> None:
        """Count what another one has seen, such as that of another worker."""
        if other.features != self.features:
            raise NormError(
                f"statistics of {other.features} features came; expected those of "
                f"{self.features}"
            )
        self._take(merged(self.moments, other.moments))

    def extra_repr(self) -> str:
        """The settings."""
        return f"{self.features}" + (", synced=True" if self.synced else "")

    def _take(self, found: Moments) -> None:
        self.total.copy_(found.total)
        self.mean.copy_(found.mean)
        self.squares.copy_(found.squares)

    def _in(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and scale in the precision of values."""
        return self.mean.to(values.dtype), self.scale.to(values.dtype)

    def _check(self, values: Tensor) -> None:
        if values.dim() < 2 or values.shape[-1] != self.features:
            raise NormError(
                f"values {list(values.shape)} came; expected [*, {self.features}]"
            )

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        """Follow the model to another device, but not to another precision."""
        kept = self.moments
        super()._apply(fn, recurse)
        for name, value in kept._asdict().items():
            setattr(self, name, value.to(getattr(self, name).device))
        return self
