"""A gradient comes in, how far saturation or clipping turns it goes out.

A saturated activation scales down the gradients of some units and not of others: it
limits them as clipping does, and turns them. Clipping by norm does not turn at all.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from surefoot.nn.flow.errors import FlowError
from surefoot.nn.flow.gates import Activation, slopes


@dataclass(frozen=True, slots=True)
class DirectionChange:
    """Cosines between a gradient and what is left of it; 1: not turned.

    `gated` behind the activation, `norm_clipped` and `value_clipped` by thresholds.
    In high dimensions `gated` is E[φ′]/√E[φ′²] (`GateGain.cosine`).
    """

    gated: float
    norm_clipped: float
    value_clipped: float


def direction_change(
    gradient: Tensor,
    pre_activations: Tensor,
    *,
    activation: Activation = torch.tanh,
    max_norm: float = 1.0,
    clip_value: float = 0.5,
) -> DirectionChange:
    """How far an activation's gates, norm clipping and value clipping turn a gradient.

    Args:
        gradient: by the activation's output, any shape.
        pre_activations: what the activation was given, same shape.
        activation: elementwise.
        max_norm: the threshold of `clip_grad_norm_`.
        clip_value: the threshold of `clip_grad_value_`.

    Raises:
        FlowError: the shapes differ, the gradient is zero or not finite, or a threshold
            is not positive.

    >>> gradient, places = torch.tensor([3.0, 0.1]), torch.tensor([4.0, 0.0])
    >>> found = direction_change(gradient, places)
    >>> found.norm_clipped, found.gated < 0.1
    (1.0, True)
    """
    if gradient.shape != pre_activations.shape:
        raise FlowError(
            f"a gradient {list(gradient.shape)} and pre-activations "
            f"{list(pre_activations.shape)} came; expected the same shape"
        )
    if min(max_norm, clip_value) <= 0:
        raise FlowError(
            f"max_norm={max_norm}, clip_value={clip_value} came; expected both above 0"
        )
    raw = gradient.detach().double()
    norm = raw.norm()
    if not torch.isfinite(norm) or norm == 0:
        raise FlowError(f"a gradient of norm {float(norm)} came; expected a finite one")
    gates = slopes(activation, pre_activations.detach().double())
    return DirectionChange(
        gated=_cosine(raw, raw * gates),
        norm_clipped=_cosine(raw, raw * (max_norm / norm).clamp(max=1.0)),
        value_clipped=_cosine(raw, raw.clamp(-clip_value, clip_value)),
    )


def _cosine(left: Tensor, right: Tensor) -> float:
    found = functional.cosine_similarity(left.flatten(), right.flatten(), dim=0, eps=0)
    return round(float(found), 12)
