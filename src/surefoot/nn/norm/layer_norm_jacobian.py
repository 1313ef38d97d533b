"""Vectors come in, the Jacobians of layer norm at them go out."""

from __future__ import annotations

import torch
from torch import Tensor

from surefoot.nn.norm.errors import NormError


def layer_norm_jacobian(
    input: Tensor, weight: Tensor | None = None, *, eps: float = 1e-5
) -> Tensor:
    """J = (1/σ)(I - 11ᵀ/d - x̂x̂ᵀ/d), with rows times the gain if there is one.

    Exact for any eps, with σ = √(var + eps) and x̂ = (x - μ)/σ. Without eps, σ·J is a
    projection: it takes away the mean and the direction of x̂, so that its singular
    values are 1, d - 2 times, and 0 twice. Gradients grow where σ < 1.

    Args:
        input: `[..., d]`.
        weight: the gain `[d]`.
        eps: added to the variance, 1e-5 as in torch.

    Returns:
        `[..., d, d]`.

    >>> x = torch.tensor([1.0, 2.0, 4.0], dtype=torch.float64)
    >>> J = layer_norm_jacobian(x)
    >>> auto = torch.func.jacrev(torch.nn.LayerNorm(3, dtype=torch.float64))(x)
    >>> torch.allclose(J, auto)
    True

    Raises:
        NormError: there are no features, or the gain has another size.
    """
    if input.dim() < 1 or not input.shape[-1]:
        raise NormError(f"shape {list(input.shape)} came; expected [..., features]")
    size = input.shape[-1]
    if weight is not None and weight.shape != (size,):
        raise NormError(f"a gain of shape {list(weight.shape)} came; expected [{size}]")
    spread = (input.var(-1, correction=0, keepdim=True) + eps).sqrt()
    shape = (input - input.mean(-1, keepdim=True)) / spread
    taken = (1 + shape.unsqueeze(-1) * shape.unsqueeze(-2)) / size
    whole = torch.eye(size, device=input.device, dtype=input.dtype) - taken
    jacobian = whole / spread.unsqueeze(-1)
    return jacobian if weight is None else weight.unsqueeze(-1) * jacobian
