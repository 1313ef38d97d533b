"""Gradients of several tasks come in, a penalty on their conflicts goes out.

"Competitor-aware" training has no definition in the field. The reading here: tasks that
share weights compete where their gradients point against each other, and the share of
that can be made part of the loss. Experimental: an ablation should back it.
"""

from __future__ import annotations

import torch
from torch import Tensor

from surefoot.gradients.conflict import pairwise_cosines
from surefoot.tasks.continual.errors import ContinualError


def interference_penalty(gradients: Tensor, weight: float = 1.0) -> Tensor:
    """λ Σ_{i<j} max(0, -cos(g_i, g_j)): 0 where no two tasks are in conflict.

    `surefoot.gradients.gradient_conflict` reports the same cosines. For a penalty that
    can be differentiated take gradients from `task_gradients(..., create_graph=True)`.

    Args:
        gradients: `[tasks, n]`, each flat.
        weight: λ.

    >>> interference_penalty(torch.tensor([[1.0, 0.0], [-1.0, 1.0]]))
    tensor(0.7071)

    Raises:
        ContinualError: not `[tasks, n]` with two tasks or more.
    """
    if gradients.dim() != 2 or len(gradients) < 2:
        raise ContinualError(
            f"gradients of shape {list(gradients.shape)} came; expected [tasks, n] "
            "with two tasks or more"
        )
    against = (-pairwise_cosines(gradients)).clamp(min=0.0)
    return weight * torch.triu(against, diagonal=1).sum()
