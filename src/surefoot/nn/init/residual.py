"""Residual blocks that start as the identity, or as little more, whatever the depth.

A sum of L branches of unit gain grows with L. Each scheme here makes a branch small at
the start: by a gate (ReZero, SkipInit, LayerScale), by its last layer (zero γ, Fixup),
or by weights and shortcut together (DeepNorm).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from surefoot.nn.init.depth_scaled import deepnorm
from surefoot.nn.init.errors import InitError

LAYER_SCALE = 1e-5
"""Touvron et al. 2021 (CaiT), from depth 24 on; 0.1 up to 18 layers there."""


class SkipInit(nn.Module):
    """A learned number that a branch is multiplied by: y = g·x, g = 0 at the start.

    The scalar of SkipInit (De & Smith 2020) and of ReZero (Bachlechner et al. 2021).

    Args:
        value: where g starts.
        device: of the parameter.
        dtype: of the parameter.

    Shapes: any to the same.

    >>> SkipInit(0.5)(torch.ones(2))
    tensor([0.5000, 0.5000], grad_fn=<MulBackward0>)
    """

    def __init__(
        self,
        value: float = 0.0,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.value = value
        self.gate = nn.Parameter(torch.empty((), device=device, dtype=dtype))
        self.reset_parameters()

    def forward(self, x: Tensor) -> Tensor:
        """The branch, scaled."""
        return self.gate * x

    def reset_parameters(self) -> None:
        """Put the number back to where it started."""
        nn.init.constant_(self.gate, self.value)

    def extra_repr(self) -> str:
        """Where it started."""
        return f"value={self.value}"


class LayerScale(nn.Module):
    """A learned number for each feature: y = γ·x, γ small at the start (CaiT 2021).

    Args:
        features: how many.
        value: where all of γ starts; 1e-5 for deep transformers, 0.1 for shallow ones.
        dim: the dimension of the features: -1 for `[..., C]`, 1 for `[N, C, ...]`.
        device: of the parameter.
        dtype: of the parameter.

    Shapes: any with `features` elements in `dim`, to the same.

    >>> LayerScale(3, 0.1, dim=1)(torch.ones(2, 3, 4, 4)).shape
    torch.Size([2, 3, 4, 4])
    """

    def __init__(
        self,
        features: int,
        value: float = LAYER_SCALE,
        *,
        dim: int = -1,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.features, self.value, self.dim = features, value, dim
        self.gamma = nn.Parameter(torch.empty(features, device=device, dtype=dtype))
        self.reset_parameters()

    def forward(self, x: Tensor) -> Tensor:
        """The branch, scaled feature by feature.

        Raises:
            InitError: another number of features came.
        """
        if x.shape[self.dim] != self.features:
            raise InitError(
                f"shape {tuple(x.shape)} came, with {x.shape[self.dim]} in dimension "
                f"{self.dim}; expected {self.features}; set dim= to that of features"
            )
        behind = x.dim() - 1 - self.dim % x.dim()
        return self.gamma.reshape(-1, *(1,) * behind) * x

    def reset_parameters(self) -> None:
        """Put all numbers back to where they started."""
        nn.init.constant_(self.gamma, self.value)

    def extra_repr(self) -> str:
        """Features, start and dimension."""
        return f"{self.features}, value={self.value}, dim={self.dim}"


class Residual(nn.Module):
    """x + branch(x), the branch through a gate if there is one.

    `Residual(f, SkipInit())` is ReZero: the identity at the start, bit for bit, and so
    is a stack of them. `Residual(f, LayerScale(C))` is the block of CaiT.

    Args:
        branch: from a shape to the same.
        gate: what the branch passes before the sum.

    >>> block = Residual(nn.Linear(4, 4), SkipInit())
    >>> x = torch.randn(3, 4)
    >>> bool((block(x) == x).all())
    True
    """

    def __init__(self, branch: nn.Module, gate: nn.Module | None = None) -> None:
        super().__init__()
        self.branch = branch
        self.gate = nn.Identity() if gate is None else gate

    def forward(self, x: Tensor) -> Tensor:
        """The sum.

        Raises:
            InitError: the branch changes the shape.
        """
        return x + self.gate(same_shape(self.branch(x), x, self.branch))


class DeepNormResidual(nn.Module):
    """norm(α·x + branch(x)): a post-norm block of a very deep transformer (Wang 2022).

    Args:
        branch: attention or feed-forward part, from a shape to the same; its weights
            drawn by `deepnorm_` with the same depth.
        norm: such as `nn.LayerNorm(width)`.
        depth: how many layers the stack has (of two such blocks each).

    >>> block = DeepNormResidual(nn.Linear(4, 4), nn.LayerNorm(4), depth=24)
    >>> f"{block.alpha:.4f}"
    '2.6321'
    """

    def __init__(self, branch: nn.Module, norm: nn.Module, *, depth: int) -> None:
        super().__init__()
        self.branch, self.norm = branch, norm
        self.depth, self.alpha = depth, deepnorm(depth).alpha

    def forward(self, x: Tensor) -> Tensor:
        """The normalised sum.

        Raises:
            InitError: the branch changes the shape.
        """
        return self.norm(self.alpha * x + same_shape(self.branch(x), x, self.branch))

    def extra_repr(self) -> str:
        """The depth and its weight of the shortcut."""
        return f"depth={self.depth}, alpha={self.alpha:.4g}"


def same_shape(out: Tensor, x: Tensor, branch: nn.Module) -> Tensor:
    """A branch's output, if it can be added to what came in without broadcasting.

    Raises:
        InitError: it is no tensor, or has another shape.
    """
    if not isinstance(out, Tensor):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InitError(
            f"{type(branch).__name__} gave a {type(out).__name__}; expected a tensor, "
            "as a skip path adds what goes in to what comes out"
        )
    if out.shape != x.shape:
        raise InitError(
            f"{type(branch).__name__} takes {tuple(x.shape)} to {tuple(out.shape)}; "
            "expected the same shape, as a skip path adds what goes in to the rest"
        )
    return out
