"""The optimizer: a Moment comes in, learning rates and second-moment age go out."""

from __future__ import annotations

from typing import Any

import torch

from surefoot.schedules.lending import settings_made_with
from surefoot.types import Moment, Reading


def learning_rates(moment: Moment) -> list[Reading]:
    """Learning rate of each parameter group, before any schedule moves it on.

    As the step had it, with what the optimizer was lent: asked for after the step,
    since who steers decides within it.
    """
    groups = settings_made_with(moment.optimizer)
    rates = [group.get("lr", torch.nan) for group in groups]
    layers = tuple(f"group{i}" for i in range(len(rates)))
    if not any(isinstance(rate, torch.Tensor) for rate in rates):
        return [Reading(moment.step, "lr", layers, rates)]
    tensors = [torch.as_tensor(rate).detach().float().reshape(()) for rate in rates]
    values = torch.stack([tensor.to(tensors[0].device) for tensor in tensors])
    return [Reading(moment.step, "lr", layers, values)]


def second_moment_ratio(moment: Moment) -> list[Reading]:
    """RMS of g²/v for each parameter with an Adam-like second moment.

    v is corrected for its bias as Adam does. About 1 when v fits the gradients;
    far above 1 when the second moment is stale and the update too long for it
    (Molybog et al. 2023, arXiv:2304.09871; the measure of StableAdamW,
    arXiv:2304.13013).
    """
    rows: list[tuple[str, torch.Tensor]] = []
    state = moment.optimizer.state
    beta2 = _beta2_of(moment.optimizer)
    for name, weight, grad in zip(
        moment.names, moment.weights, moment.grads, strict=True
    ):
        own: dict[str, Any] = state.get(weight, {})
        moment2 = own.get("exp_avg_sq")
        if grad is None or moment2 is None or grad.shape != moment2.shape:
            continue
        rows.append((name, _ratio(grad, moment2, own, beta2.get(id(weight), 0.999))))
    if not rows:
        return []
    home = rows[0][1].device
    values = torch.stack([value.to(home) for _, value in rows])
    names = tuple(name for name, _ in rows)
    return [Reading(moment.step, "second_moment_ratio", names, values)]


def _beta2_of(optimizer: torch.optim.Optimizer) -> dict[int, float]:
    """β₂ by the identity of the parameter."""
    return {
        id(weight): float(group["betas"][1])
        for group in optimizer.param_groups
        if "betas" in group
        for weight in group["params"]
    }


def _ratio(
    grad: torch.Tensor, moment2: torch.Tensor, own: dict[str, Any], beta2: float
) -> torch.Tensor:
    """Root of the mean of g²/v, elements with v = 0 left out of the sum."""
    steps = torch.as_tensor(own.get("step", 1), device=moment2.device)
    corrected = moment2.float() / (1 - beta2 ** steps.float())
    square = grad.detach().float().square()
    share = torch.where(corrected > 0, square / corrected, torch.zeros_like(square))
    return share.mean().sqrt()
