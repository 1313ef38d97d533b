"""Queries and keys come in, those whose logits are bounded go out."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import init

from surefoot.nn.norm.errors import NormError

SCALE = 10.0
"""Logits begin within ±10, as in Swin v2 (Liu et al. 2022, arXiv:2111.09883)."""

MOST = 100.0
"""Logits stay within ±100: the bound of CLIP (Radford et al. 2021, arXiv:2103.00020)
and of Swin v2."""


def unit_vectors(values: Tensor) -> Tensor:
    """Vectors along the last dimension at length 1, in float32 or better; 0 stays 0.

    They are brought to the size of 1 before they are squared, so that none overflows.
    """
    wide = values if values.dtype == torch.float64 else values.float()
    # A factor changes nothing, so that no gradient need flow through it.
    largest = wide.detach().abs().amax(-1, keepdim=True)
    level = wide / torch.where(largest > 0, largest, 1.0)
    # Its largest element is 1, so that its length is 1 or more.
    return level / torch.linalg.vector_norm(level, dim=-1, keepdim=True).clamp_min(1)


def qk_norm(
    query: Tensor, key: Tensor, *, scale: float | Tensor
) -> tuple[Tensor, Tensor]:
    """Queries and keys whose logits are scale·cos(q, k).

    For `scaled_dot_product_attention` with its own scale 1/√d, which the queries make
    up for (Henry et al. 2020, arXiv:2010.04245). Lengths are taken in float32.

    Args:
        query: `[..., queries, d]`.
        key: `[..., keys, d]`.
        scale: bound of the logits, for all or `[heads, 1, 1]`.

    >>> query, key = torch.tensor([[3e4, 4e4]]), torch.tensor([[6e4, 8e4]])
    >>> query, key = qk_norm(query, key, scale=5.0)
    >>> round((query @ key.T / 2**0.5).item(), 4)
    5.0

    Raises:
        NormError: queries and keys have other sizes.
    """
    if query.shape[-1] != key.shape[-1]:
        raise NormError(
            f"queries of size {query.shape[-1]} and keys of size {key.shape[-1]} came; "
            "expected the same size of both"
        )
    longer = unit_vectors(query) * (scale * math.sqrt(query.shape[-1]))
    return longer.to(query.dtype), unit_vectors(key).to(key.dtype)


class QKNorm(nn.Module):
    """Normalises queries and keys before their product: |logit| ≤ scale ≤ `most`.

    logits = s_h·cos(q, k) with a learned s_h for each head (Henry et al. 2020,
    arXiv:2010.04245), kept below `most` as most·sigmoid(raw). Whatever weights and
    activations grow to, attention cannot saturate further (Dehghani et al. 2023,
    arXiv:2302.05442, on divergence from growing logits).

    Args:
        heads: how many scales; 1 for one that all heads share.
        scale: what each begins with, 10 as in Swin v2.
        most: what none can exceed, 100 as in CLIP and Swin v2.
        learnable: whether scales are trained.
        device: of the scales.
        dtype: of the scales.

    >>> norm = QKNorm(heads=2)
    >>> q, k, v = torch.randn(3, 1, 2, 5, 8)
    >>> q, k = norm(q, k)
    >>> torch.nn.functional.scaled_dot_product_attention(q, k, v).shape
    torch.Size([1, 2, 5, 8])

    Raises:
        NormError: a size or scale makes no sense, or an input does not fit.
    """

    raw_scale: Tensor

    def __init__(
        self,
        heads: int = 1,
        *,
        scale: float = SCALE,
        most: float = MOST,
        learnable: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        if heads < 1 or not 0 < scale < most:
            raise NormError(
                f"heads={heads}, scale={scale}, most={most} came; expected 1 head or "
                "more and 0 < scale < most"
            )
        self.heads, self.most, self.initial = heads, most, scale
        raw = torch.empty(heads, 1, 1, device=device, dtype=dtype)
        if learnable:
            self.raw_scale = nn.Parameter(raw)
        else:
            self.register_buffer("raw_scale", raw)
        self.reset_parameters()

    @property
    def scale(self) -> Tensor:
        """The bound of each head's logits, `[heads, 1, 1]`."""
        return self.most * self.raw_scale.sigmoid()

    def reset_parameters(self) -> None:
        """Put the scales where they began."""
        share = self.initial / self.most
        init.constant_(self.raw_scale, math.log(share / (1 - share)))

    def forward(self, query: Tensor, key: Tensor) -> tuple[Tensor, Tensor]:
        """Those for `scaled_dot_product_attention`, `[..., heads, length, d]`."""
        if self.heads > 1 and (query.dim() < 3 or query.shape[-3] != self.heads):
            raise NormError(
                f"queries of shape {list(query.shape)} came; expected [..., "
                f"{self.heads} heads, length, size]"
            )
        return qk_norm(query, key, scale=self.scale)

    def extra_repr(self) -> str:
        """Heads and bounds."""
        return f"heads={self.heads}, scale={self.initial}, most={self.most}"
