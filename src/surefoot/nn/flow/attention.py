"""Attention logits or weights come in, the entropy of each row goes out.

A row's entropy falls to 0 as it settles on one key; where that happens in a whole layer
training turns unstable (entropy collapse: Zhai et al. 2023, arXiv:2303.06296).
"""

from __future__ import annotations

import torch
from torch import Tensor

from surefoot.nn.flow.errors import FlowError


def attention_entropy(logits: Tensor, mask: Tensor | None = None) -> Tensor:
    """Entropy -Σ p ln p of softmax(logits) over the last dimension, in nats.

    Args:
        logits: `[..., keys]`; -inf counts as masked.
        mask: True where a key may be seen, of a shape that broadcasts to the logits'.

    Returns:
        `[...]`, in the logits' dtype or float32; 0 for a row that sees one key or none.
        Differentiable.

    Raises:
        FlowError: the mask is not boolean or does not broadcast.

    >>> round(attention_entropy(torch.zeros(64)).item(), 4)
    4.1589
    >>> seen = torch.arange(64) < 2
    >>> round(attention_entropy(torch.zeros(64), seen).item(), 4)
    0.6931
    """
    seen = logits != -torch.inf
    if mask is not None:
        seen = seen & _broadcast(mask, logits)
    return row_entropy(logits, seen)


def entropy_of_weights(weights: Tensor, mask: Tensor | None = None) -> Tensor:
    """Entropy of attention weights over the last dimension, in nats.

    What `nn.MultiheadAttention` returns as weights can be given as it is; masked keys
    have weight 0 and count nothing. Rows are divided by their sums over seen keys.

    Args:
        weights: `[..., keys]`, not negative.
        mask: True where a key may be seen, as in `attention_entropy`.

    >>> entropy_of_weights(torch.tensor([0.0, 1.0, 0.0])).item()
    0.0

    Raises:
        FlowError: as `attention_entropy`.
    """
    wide = weights.float() if weights.dtype.itemsize < 4 else weights
    if mask is not None:
        wide = wide.masked_fill(~_broadcast(mask, weights), 0.0)
    total = wide.sum(-1, keepdim=True)
    share = wide / torch.where(total > 0, total, 1.0)
    kept = torch.where(share > 0, share, 1.0)  # the slope at 0 is infinite
    return (kept * kept.reciprocal().log()).sum(-1)


def row_entropy(logits: Tensor, seen: Tensor) -> Tensor:
    """Entropy of softmax over the keys that are seen; both `[..., keys]`."""
    wide = logits.float() if logits.dtype.itemsize < 4 else logits
    any_seen = seen.any(-1, keepdim=True)
    # a row without keys gets zeros, so that neither it nor its gradient is NaN
    kept = torch.where(seen, wide, torch.where(any_seen, -torch.inf, 0.0))
    logs = kept.log_softmax(-1)
    share = torch.where(seen, logs.exp() * torch.where(seen, logs, 0.0), 0.0)
    return -share.sum(-1)


def _broadcast(mask: Tensor, logits: Tensor) -> Tensor:
    wrong = mask.dtype != torch.bool or mask.dim() > logits.dim()
    pairs = zip(mask.shape[::-1], logits.shape[::-1], strict=False)
    if wrong or any(size not in (1, wide) for size, wide in pairs):
        raise FlowError(
            f"a mask {list(mask.shape)} of {mask.dtype} came for {list(logits.shape)}; "
            "expected torch.bool, True where a key may be seen, that broadcasts to it"
        )
    return mask.expand(logits.shape)
