"""A module comes in, its weight's spectral norm becomes a number that is learned."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrize

from surefoot.nn.norm.errors import NormError

MOST_ITERATIONS = 1_000
ENOUGH = 1e-7
"""The start is iterated until σ changes by less: the rest is then below 1e-5 even where
the next singular value is 1 % smaller, as in a square Gaussian matrix of size 512."""


class SigmaReparam(nn.Module):
    """The parametrisation W = γ·Ŵ/σ(Ŵ), σ the largest singular value.

    σ = uᵀŴv with vectors of one power iteration for each training pass; gradients flow
    through Ŵ, not through u and v (Zhai et al. 2023, arXiv:2303.06296). A weight with
    more than two dimensions is a matrix of its first by all others. Evaluation iterates
    nothing, nor should passes inside `torch.func` transforms: use it there.

    Args:
        weight: Ŵ, as it is now.
        gain: what γ begins with; None for σ(Ŵ), which leaves the weight as it is.

    Raises:
        NormError: the weight has fewer than two dimensions, or is zero or not finite.
    """

    u: Tensor
    v: Tensor

    def __init__(self, weight: Tensor, *, gain: float | None = 1.0) -> None:
        super().__init__()
        if weight.dim() < 2:
            raise NormError(
                f"a weight of shape {list(weight.shape)} came; expected two dimensions "
                "or more"
            )
        u, v = leading_vectors(weight.detach().flatten(1))
        self.register_buffer("u", u)
        self.register_buffer("v", v)
        sigma = torch.dot(u, weight.detach().flatten(1) @ v)
        if not (torch.isfinite(sigma) and sigma > 0):
            raise NormError(
                f"a weight with largest singular value {sigma.item()} came; expected "
                "one that is finite and not zero"
            )
        start = sigma if gain is None else torch.full_like(sigma, gain)
        self.gain = nn.Parameter(start)

    def forward(self, weight: Tensor) -> Tensor:
        """The effective weight."""
        matrix = weight.flatten(1)
        with torch.autocast(weight.device.type, enabled=False):
            if self.training:
                with torch.no_grad():
                    self.v.copy_(_unit(self.u @ matrix))
                    self.u.copy_(_unit(matrix @ self.v))
            # Copies: the next pass changes them before the backward of this one.
            sigma = torch.dot(self.u.clone(), matrix @ self.v.clone())
        return weight * (self.gain / sigma)

    def extra_repr(self) -> str:
        """The size of the matrix."""
        return f"{self.u.shape[0]}, {self.v.shape[0]}"


def sigma_reparam(
    module: nn.Module, name: str = "weight", *, gain: float | None = 1.0
) -> nn.Module:
    """Give a weight a learned spectral norm: W = γ·Ŵ/σ(Ŵ).

    Keeps the logits of attention from growing and its entropy from collapsing in early
    training; meant for the linear layers of attention blocks. γ is the new parameter
    `module.parametrizations.weight[0].gain`. torch's `remove_parametrizations` undoes
    it. For a convolution, σ is that of the unfolded weight, not of the operator.

    Args:
        module: whose weight; it is changed in place and returned.
        name: of the weight.
        gain: what γ begins with, 1 as in the paper; None for the present σ, so that
            the function stays as it is.

    >>> layer = sigma_reparam(torch.nn.Linear(8, 8))
    >>> round(torch.linalg.matrix_norm(layer.weight, 2).item(), 4)
    1.0

    Raises:
        NormError: the module has no such weight, or it cannot be used.
    """
    weight = getattr(module, name, None)
    if not isinstance(weight, Tensor):
        raise NormError(
            f"{type(module).__name__} has no weight {name!r}; expected the name of one "
            f"of {[own for own, _ in module.named_parameters(recurse=False)]}"
        )
    norm = SigmaReparam(weight, gain=gain).train(module.training)
    parametrize.register_parametrization(module, name, norm)
    return module


@torch.no_grad()
def leading_vectors(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """The left and right singular vectors of the largest singular value.

    By power iteration from a fixed start, until the value changes by less than 1e-7.
    """
    draws = torch.Generator().manual_seed(0)
    start = torch.randn(matrix.shape[1], generator=draws, dtype=torch.float64)
    v = _unit(start.to(matrix))
    u, last = _unit(matrix @ v), 0.0
    for _ in range(MOST_ITERATIONS):
        v = _unit(u @ matrix)
        raw = matrix @ v
        sigma = raw.norm().item()
        u = _unit(raw)
        if abs(sigma - last) <= ENOUGH * sigma:
            break
        last = sigma
    return u, v


def _unit(vector: Tensor) -> Tensor:
    return functional.normalize(vector, dim=0)
