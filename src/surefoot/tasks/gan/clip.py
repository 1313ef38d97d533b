"""A critic comes in; after each of its updates no weight lies beyond a limit."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from surefoot.schedules.scheduled import Scheduled, value_at
from surefoot.tasks.gan.errors import GameError

LIMIT = 0.01
"""Arjovsky et al. 2017, algorithm 1."""


@torch.no_grad()
def clip_weights_(weights: Iterable[Tensor], limit: float = LIMIT) -> None:
    """Set every weight into [−limit, limit], in place.

    Raises:
        GameError: the limit is not positive.

    >>> weight = torch.tensor([-1.0, 0.005])
    >>> clip_weights_([weight])
    >>> weight
    tensor([-0.0100,  0.0050])
    """
    _check(limit)
    for weight in weights:
        weight.clamp_(-limit, limit)


class ClipWeights:
    """A post-step action: clip all weights of a critic (Arjovsky et al. 2017).

    This bounds the critic's slope, crudely: most weights end at the limit, and the
    slope grows or vanishes with the depth. `gradient_penalty` holds it better.

    Args:
        critic: whose parameters are clipped, those of norms included.
        limit: 0.01 in the paper; a number or a schedule of the critic's updates.

    Raises:
        GameError: the limit is not positive.

    >>> from surefoot.schedules import after_step
    >>> critic = nn.Linear(2, 1)
    >>> sgd = torch.optim.SGD(critic.parameters(), lr=1.0)
    >>> handle = after_step(sgd, ClipWeights(critic))
    >>> critic(torch.ones(1, 2)).sum().backward()
    >>> sgd.step()
    >>> critic.weight
    Parameter containing:
    tensor([[-0.0100, -0.0100]], requires_grad=True)
    """

    def __init__(self, critic: nn.Module, *, limit: float | Scheduled = LIMIT) -> None:
        _check(value_at(limit, 0))
        self.critic = critic
        self.limit = limit

    def begin(self, step: int) -> None:
        """Clip before the next update too: the limit holds from the start."""
        clip_weights_(self.critic.parameters(), value_at(self.limit, step))

    def __call__(self, step: int) -> Mapping[str, float]:
        """Clip, and say the limit if it varies."""
        self.begin(step)
        varies = isinstance(self.limit, Scheduled)
        return {"limit": value_at(self.limit, step)} if varies else {}


def _check(limit: float) -> None:
    if not (limit > 0 and math.isfinite(limit)):
        raise GameError(f"limit={limit!r} came; expected a positive number")
