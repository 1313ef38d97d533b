"""A model and a batch come in, how far batch statistics lie from running ones goes out.

In training a batch norm uses those of the batch, in evaluation the running ones. Where
the two differ by more than chance, the model that is evaluated is not the one trained.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import torch
from torch import Tensor, nn

from surefoot.nn.norm.errors import NormError
from surefoot.nn.norm.moments import Moments
from surefoot.nn.norm.recalibrate import (
    Forward,
    of_channels,
    run,
    tracked_norms,
    watched,
)
from surefoot.restore.still import still
from surefoot.signatures.norm_gap import BOUND

FALSE_ALARMS = 1e-4
"""How often a stationary layer may be called one with a gap, by chance."""


@dataclass(frozen=True, slots=True)
class NormGap:
    """The gap of one batch norm.

    Attributes:
        name: of the module.
        shift: max over channels of abs(μ_B - μ)/σ, with running μ and σ.
        spread: the log σ_B/σ of the channel where it is largest in size.
        noise: what `shift` stays below with a probability of 99.99 % if nothing but
            chance is at work.
    """

    name: str
    shift: float
    spread: float
    noise: float

    @property
    def alarm(self) -> bool:
        """Whether the shift is more than noise, and more than healthy runs have."""
        return self.shift > max(BOUND, self.noise)


def norm_gap(
    model: nn.Module, batch: Any, *, forward: Forward | None = None
) -> tuple[NormGap, ...]:
    """How far the statistics of a batch lie from the running ones, for each batch norm.

    The batch runs as in training and leaves no trace. Its mean is noisy, and so are
    running averages: with momentum m they keep √(m/(2 - m)) of a batch's noise, 0.229
    at 0.1. The mean of N examples is off by at most σ/√N, as where all positions of a
    map are alike; an alarm is for what is beyond the noise of both, and beyond what
    healthy runs have.

    Args:
        model: with batch norms that track statistics.
        batch: inputs, or a sequence that begins with them.
        forward: how the model is run on the batch; `model(inputs)` if not given.

    Raises:
        NormError: no batch norm that tracks statistics ran.

    >>> _ = torch.manual_seed(0)
    >>> net = nn.Sequential(nn.BatchNorm1d(4))
    >>> (found,) = norm_gap(net, torch.randn(1000, 4) + 2)
    >>> round(found.shift), found.alarm
    (2, True)
    """
    norms = tracked_norms(model)
    found: dict[str, NormGap] = {}

    def see(name: str, values: Tensor, mask: Tensor | None) -> None:
        seen = of_channels(values, mask)
        found[name] = _gap(name, norms[name], seen, len(values))

    with still(model, training=True), torch.no_grad(), watched(norms, see):
        run(model, batch, forward)
    if not found:
        raise NormError(
            f"{type(model).__name__} ran no batch norm that tracks statistics; "
            "expected one at least"
        )
    return tuple(found[name] for name in norms if name in found)


def shift_in_deviations(shift: Tensor, variance: Tensor, eps: Tensor | float) -> Tensor:
    """A difference of means in running standard deviations: abs(shift)/√(σ² + ε)."""
    return shift.abs() / (variance + eps).sqrt()


def running_noise(momentum: float | None, batches: int) -> float:
    """How much of the noise of a batch's mean a running mean has: √(m/(2 - m)).

    For a plain average of `batches`, 1/√batches.

    >>> round(running_noise(0.1, 0), 3)
    0.229
    """
    if momentum is None:
        return max(1, batches) ** -0.5
    return (momentum / (2 - momentum)) ** 0.5


def _gap(name: str, norm: Any, seen: Moments, examples: int) -> NormGap:
    mean, variance = norm.running_mean.double(), norm.running_var.double()
    shift = shift_in_deviations(seen.mean - mean, variance, norm.eps)
    logs = ((seen.variance() + norm.eps) / (variance + norm.eps)).log() / 2
    kept = running_noise(norm.momentum, int(norm.num_batches_tracked))
    z = NormalDist().inv_cdf(1 - FALSE_ALARMS / (2 * len(mean)))
    # Student's t, as the running variance is itself from so many free values.
    free = max(1, examples - 1) / kept**2 if kept else float("inf")
    noise = (z + (z**3 + z) / (4 * free)) * ((1 + kept**2) / examples) ** 0.5
    return NormGap(name, float(shift.max()), float(logs[logs.abs().argmax()]), noise)
