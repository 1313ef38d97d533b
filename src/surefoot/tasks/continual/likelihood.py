"""Outputs of a model come in as a distribution: labels drawn from it, losses go out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from surefoot.tasks.continual.errors import ContinualError

Rng = np.random.Generator


@dataclass(frozen=True, slots=True)
class Likelihood:
    """What a model's outputs say of the labels.

    `loss(outputs, targets)` is -ln p of each sample, `[samples]`; `sample(outputs,
    rng)` draws targets. Sampling uses numpy's stream, one number after another, so that
    the labels do not depend on how samples are put into batches.
    """

    name: str
    loss: Callable[[Tensor, Tensor], Tensor]
    sample: Callable[[Tensor, Rng], Tensor]


def _sum(losses: Tensor) -> Tensor:
    """Over all but the samples."""
    return losses.flatten(1).sum(1) if losses.dim() > 1 else losses


def _classes(outputs: Tensor, targets: Tensor) -> Tensor:
    return _sum(functional.cross_entropy(outputs, targets, reduction="none"))


def _draw_classes(outputs: Tensor, rng: Rng) -> Tensor:
    bounds = outputs.detach().double().softmax(1).movedim(1, -1).cumsum(-1)
    drawn = torch.from_numpy(rng.random(bounds.shape[:-1])).to(bounds)
    # the last bound is 1 up to rounding, and no draw may lie beyond it
    return torch.searchsorted(bounds[..., :-1].contiguous(), drawn[..., None])[..., 0]


def _bits(outputs: Tensor, targets: Tensor) -> Tensor:
    return _sum(
        functional.binary_cross_entropy_with_logits(
            outputs, targets.to(outputs), reduction="none"
        )
    )


def _draw_bits(outputs: Tensor, rng: Rng) -> Tensor:
    shares = outputs.detach().sigmoid()
    return (torch.from_numpy(rng.random(shares.shape)).to(shares) < shares).to(shares)


def _squares(outputs: Tensor, targets: Tensor) -> Tensor:
    return _sum((outputs - targets).square() / 2)


def _draw_normal(outputs: Tensor, rng: Rng) -> Tensor:
    noise = torch.from_numpy(rng.standard_normal(tuple(outputs.shape)))
    return outputs.detach() + noise.to(outputs)


CATEGORICAL = Likelihood("categorical", _classes, _draw_classes)
"""Logits `[samples, classes, ...]`, targets of class numbers `[samples, ...]`."""
BERNOULLI = Likelihood("bernoulli", _bits, _draw_bits)
"""Logits and targets (0 or 1) of one shape."""
GAUSSIAN = Likelihood("gaussian", _squares, _draw_normal)
"""Means and targets of one shape, variance 1: half the squared error."""
ALL = (CATEGORICAL, BERNOULLI, GAUSSIAN)


def likelihood_of(name: str | Likelihood) -> Likelihood:
    """One by its name, or what was given.

    Raises:
        ContinualError: there is none of that name.
    """
    if isinstance(name, Likelihood):
        return name
    for one in ALL:
        if one.name == name:
            return one
    names = ", ".join(one.name for one in ALL)
    raise ContinualError(f"likelihood={name!r} came; expected {names}, or a Likelihood")
