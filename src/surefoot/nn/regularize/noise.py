"""Activations come in, and go out with Gaussian noise while training.

To first order in σ² noise on the inputs adds σ²/2 times the trace of the loss's Hessian
in them (Bishop 1995, "Training with noise is equivalent to Tikhonov regularization").
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from surefoot.nn.regularize.errors import RegularizeError, shown


def gaussian_noise(
    input: Tensor,
    std: float | Tensor,
    *,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Add noise of mean 0 and standard deviation `std` to each element.

    Raises:
        RegularizeError: the input is not of floating point.

    >>> gaussian_noise(torch.ones(3), 0.0)
    tensor([1., 1., 1.])
    """
    if not input.is_floating_point():
        raise RegularizeError(
            f"an input of {input.dtype} came; expected floating point, as noise on "
            "indices has no meaning; add it behind the embedding"
        )
    drawn = torch.randn(
        input.shape, dtype=input.dtype, device=input.device, generator=generator
    )
    # Of one element each, a tensor `std` would otherwise decide the dtype.
    return input + (std * drawn).to(input.dtype)


class GaussianNoise(nn.Module):
    """Noise on inputs or activations while training; nothing in evaluation.

    Args:
        std: standard deviation, in the input's own unit; the buffer `std` may follow
            a schedule (`surefoot.schedules.Vary`).

    Shape:
        Any, as it came.

    >>> GaussianNoise(0.1)
    GaussianNoise(std=0.1)

    Raises:
        RegularizeError: std is negative.
    """

    std: Tensor

    def __init__(self, std: float, *, device: torch.device | str | None = None) -> None:
        super().__init__()
        if not std >= 0:
            raise RegularizeError(f"std={std!r} came; expected 0 or more")
        self.register_buffer("std", torch.tensor(float(std), device=device))

    def forward(self, input: Tensor) -> Tensor:
        """The input, with noise while training."""
        return gaussian_noise(input, self.std) if self.training else input

    def extra_repr(self) -> str:
        """The setting."""
        return f"std={shown(self.std)}"
