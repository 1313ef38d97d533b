"""Values, rewards and transitions come in, the next values and distances go out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from surefoot.tasks.rl.errors import RLError


def bellman_update(
    values: Tensor, rewards: Tensor, transitions: Tensor, *, discount: float
) -> Tensor:
    """(TQ)(s, a) = r(s, a) + γ·Σ P(s'|s, a)·max Q(s', ·).

    Args:
        values: Q, `[states, actions]`.
        rewards: `[states, actions]`.
        transitions: P, `[states, actions, states]`, rows that sum to 1 (or 0: the end).
        discount: γ.

    Raises:
        RLError: shapes do not fit.
    """
    if rewards.shape != values.shape or transitions.shape != (
        *values.shape,
        values.shape[0],
    ):
        raise RLError(
            f"values {list(values.shape)}, rewards {list(rewards.shape)} and "
            f"transitions {list(transitions.shape)} came; expected [states, actions] "
            "twice and [states, actions, states]"
        )
    return rewards + discount * transitions @ values.amax(1)


@dataclass(frozen=True, slots=True)
class Contraction:
    """How an update changes the distance of two value functions.

    `ratio` is the largest difference after over the one before; a Bellman update keeps
    it at γ or below, whatever the rewards and their scale. `held` says whether it did.
    """

    before: float
    after: float
    discount: float

    @property
    def ratio(self) -> float:
        """‖TQ - TQ'‖∞/‖Q - Q'‖∞."""
        return self.after / self.before

    @property
    def held(self) -> bool:
        """Whether the ratio is γ or less, to rounding."""
        return self.ratio <= self.discount * (1 + ROUNDING)


ROUNDING = 1e-5
"""Some hundred times the step of float32 numbers."""


def bellman_contraction(
    update: Callable[[Tensor], Tensor],
    values: Tensor,
    other: Tensor,
    *,
    discount: float,
) -> Contraction:
    """Check that an update brings two value functions together by γ.

    The check is one of the update's code: targets that use the wrong discount, add a
    bonus that depends on Q, or bootstrap beyond the end of an episode do not contract.
    The scale of the rewards is of no matter to it: they cancel. (What the scale does
    change is the size of values, errors and gradients, and so what a learning rate
    does.)

    Args:
        update: T, from values to the targets that they are trained on.
        values: Q.
        other: Q', such as Q + 1.
        discount: γ.

    >>> rewards, to_the_other = torch.ones(2, 1), torch.tensor([[[0.0, 1]], [[1.0, 0]]])
    >>> found = bellman_contraction(
    ...     lambda q: bellman_update(q, rewards, to_the_other, discount=0.9),
    ...     torch.zeros(2, 1), torch.ones(2, 1), discount=0.9,
    ... )
    >>> round(found.ratio, 6), found.held
    (0.9, True)

    Raises:
        RLError: the two are the same, or of different shapes.
    """
    before = _distance(values, other)
    if not before > 0:
        raise RLError(
            "two value functions without a finite distance came; expected different "
            "ones, such as Q and Q + 1"
        )
    return Contraction(before, _distance(update(values), update(other)), discount)


def potential_shaping(
    potential: Tensor, next_potential: Tensor, *, discount: float, ended: Tensor
) -> Tensor:
    """What to add to rewards: F = γΦ(s') - Φ(s), with Φ = 0 after the end.

    Of all shaping it is the one that changes no optimal policy: Q falls by Φ(s), the
    same for all actions (Ng, Harada & Russell 1999). The discount must be the agent's.

    Args:
        potential: Φ of the states, `[...]`: any guess at how good they are.
        next_potential: Φ of the states after, `[...]`.
        discount: γ.
        ended: `[...]` of booleans: there is no state after. An episode that was cut
            off by a time limit has not ended.

    >>> two, none = torch.tensor([2.0]), torch.tensor([False])
    >>> potential_shaping(two, torch.tensor([3.0]), discount=0.5, ended=none)
    tensor([-0.5000])

    Raises:
        RLError: shapes do not fit, or `ended` is not of booleans.
    """
    same = potential.shape == next_potential.shape == ended.shape
    if not same or ended.dtype != torch.bool:
        raise RLError(
            f"potentials {list(potential.shape)} and {list(next_potential.shape)} and "
            f"ended {list(ended.shape)} of {ended.dtype} came; expected one shape, and "
            "booleans"
        )
    return discount * next_potential.masked_fill(ended, 0.0) - potential


def _distance(one: Tensor, other: Tensor) -> float:
    if one.shape != other.shape:
        raise RLError(
            f"values {list(one.shape)} and {list(other.shape)} came; expected one shape"
        )
    return (one - other).abs().max().item()
