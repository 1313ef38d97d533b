"""Weights and updates: a Moment comes in, norms, contributions and spread go out."""

from __future__ import annotations

import torch

from surefoot.probes.gradients import norms
from surefoot.types import Moment, Reading


def weight_and_update_norms(moment: Moment) -> list[Reading]:
    """2-norm of each parameter and of its update, and gradient · update.

    The last is the first-order change of the loss that the update of the parameter
    makes (Lan et al. 2019, arXiv:1909.01440, LCA). The norm of a parameter is from
    before the update.

    Raises:
        ValueError: the moment holds no copies from before the update.
    """
    if moment.before is None:
        raise ValueError(
            f"step {moment.step}: update_norm came without the weights from before "
            "the update; expected Moment.before; ask for them in the probe's `needs`"
        )
    changed = [
        after.detach() - before
        for after, before in zip(moment.weights, moment.before, strict=True)
    ]
    return [
        Reading(moment.step, "weight_norm", moment.names, norms(moment.before)),
        Reading(moment.step, "update_norm", moment.names, norms(changed)),
        *_contribution(moment, changed),
    ]


def _contribution(moment: Moment, changed: list[torch.Tensor]) -> list[Reading]:
    """Dot product of gradient and update, of all parameters that have a dense one."""
    if isinstance(moment.optimizer, torch.optim.LBFGS):
        return []  # it holds the gradient of its last trial, not the one before
    rows = [
        (name, _dot(grad.detach(), update))
        for name, grad, update in zip(moment.names, moment.grads, changed, strict=True)
        if grad is not None
        and grad.layout is torch.strided
        and grad.is_floating_point()
    ]
    if not rows:
        return []
    home = rows[0][1].device
    values = torch.stack([value.to(home).float() for _, value in rows])
    names = tuple(name for name, _ in rows)
    return [Reading(moment.step, "contribution", names, values)]


def copies(weights: list[torch.Tensor]) -> list[torch.Tensor]:
    """Copies of the weights, to be compared with them after the update."""
    return [weight.detach().clone() for weight in weights]


def _dot(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """Dot product of two tensors of one shape, in float32 at least."""
    wide = torch.promote_types(torch.float32, one.dtype)
    return torch.dot(one.reshape(-1).to(wide), other.reshape(-1).to(wide))


def unit_spread(moment: Moment) -> list[Reading]:
    """How much the units of a layer differ: 0 where all start alike.

    Norm of the weights minus their mean over output units, over their norm, of
    parameters with two axes or more and two units or more.
    """
    rows = [
        (name, weight.detach().float())
        for name, weight in zip(moment.names, moment.weights, strict=True)
        if weight.dim() >= 2
        and weight.shape[0] > 1
        and weight.numel() > 0
        and weight.is_floating_point()
    ]
    if not rows:
        return []
    spread = norms([weight - weight.mean(0, keepdim=True) for _, weight in rows])
    whole = norms([weight for _, weight in rows])
    values = torch.as_tensor(spread) / torch.as_tensor(whole).clamp_min(1e-30)
    names = tuple(name for name, _ in rows)
    return [Reading(moment.step, "unit_spread", names, values.float())]
