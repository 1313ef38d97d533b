"""Layer and RMS norm over the channels of each position: `[N, C, *]` in, the same out.

Torch's own normalise the last dimensions, which are positions in a convolution's maps.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from surefoot.nn.norm.errors import NormError


def channel_layer_norm(
    values: Tensor,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    *,
    eps: float = 1e-5,
) -> Tensor:
    """Layer norm of `[N, C, *]` over C alone, at each position.

    >>> out = channel_layer_norm(torch.randn(2, 8, 5, 5))
    >>> bool(out.mean(1).abs().max() < 1e-6)
    True
    """
    last = values.movedim(1, -1)
    out = functional.layer_norm(last, (values.shape[1],), weight, bias, eps)
    return out.movedim(-1, 1)


def channel_rms_norm(
    values: Tensor,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    *,
    eps: float | None = None,
) -> Tensor:
    """RMS norm of `[N, C, *]` over C alone: x/√(mean x² + ε), at each position.

    `eps` is the smallest of the input's type if not given, as of torch's RMS norm.
    """
    last = values.movedim(1, -1)
    out = functional.rms_norm(last, (values.shape[1],), weight, eps)
    return (out if bias is None else out + bias).movedim(-1, 1)


class _ChannelNorm(nn.Module):
    """What both have: γ and β of channels, and a shape."""

    def __init__(
        self,
        num_channels: int,
        *,
        eps: float | None,
        affine: bool = True,
        bias: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.num_channels, self.eps = num_channels, eps
        self.affine = affine
        of: Any = {"device": device, "dtype": dtype}
        empty = torch.empty(num_channels, **of)
        self.weight = nn.Parameter(empty) if affine else None
        shift = nn.Parameter(torch.empty(num_channels, **of)) if bias else None
        self.bias = shift if affine else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """γ = 1, β = 0."""
        if self.weight is not None:
            nn.init.ones_(self.weight)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def extra_repr(self) -> str:
        """The settings."""
        bias = self.bias is not None
        return f"{self.num_channels}, eps={self.eps}, affine={self.affine}, bias={bias}"

    def _check(self, values: Tensor) -> None:
        if values.dim() < 2 or values.shape[1] != self.num_channels:
            raise NormError(
                f"values {list(values.shape)} came; expected [N, {self.num_channels}, "
                "*], channels second; for channels last use torch's own norm"
            )


class ChannelLayerNorm(_ChannelNorm):
    """`nn.LayerNorm` over the channels of `[N, C, *]`, as ConvNeXt's "LayerNorm2d".

    y = γ(x - μ)/√(σ² + ε) + β with mean and variance over C at each position, so that
    neither the batch nor padding matters.

    Args:
        num_channels: C.
        eps: ε, 1e-5 as of `nn.LayerNorm` (ConvNeXt has 1e-6).
        of: `affine` (True: with γ and β), `bias` (True: with β), `device`, `dtype`.

    Raises:
        NormError: another number of channels.

    >>> ChannelLayerNorm(8)(torch.randn(2, 8, 5, 5)).shape
    torch.Size([2, 8, 5, 5])
    """

    eps: float

    def __init__(self, num_channels: int, *, eps: float = 1e-5, **of: Any) -> None:
        super().__init__(num_channels, eps=eps, **of)

    def forward(self, input: Tensor) -> Tensor:
        """Normalise `[N, C, *]`."""
        self._check(input)
        return channel_layer_norm(input, self.weight, self.bias, eps=self.eps)


class ChannelRMSNorm(_ChannelNorm):
    """`nn.RMSNorm` over the channels of `[N, C, *]`; as `ChannelLayerNorm`, no mean.

    >>> ChannelRMSNorm(8, bias=False)
    ChannelRMSNorm(8, eps=None, affine=True, bias=False)
    """

    def __init__(
        self, num_channels: int, *, eps: float | None = None, **of: Any
    ) -> None:
        super().__init__(num_channels, eps=eps, **of)

    def forward(self, input: Tensor) -> Tensor:
        """Normalise `[N, C, *]`."""
        self._check(input)
        return channel_rms_norm(input, self.weight, self.bias, eps=self.eps)
