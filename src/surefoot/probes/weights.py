"""Weights and updates: a Moment with copies from before the update comes in."""

from __future__ import annotations

import torch

from surefoot.probes.gradients import norms
from surefoot.types import Moment, Reading


def weight_and_update_norms(moment: Moment) -> list[Reading]:
    """2-norm of each parameter before the update, and of what the update changed.

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
    ]


def copies(weights: list[torch.Tensor]) -> list[torch.Tensor]:
    """Copies of the weights, to be compared with them after the update."""
    return [weight.detach().clone() for weight in weights]
