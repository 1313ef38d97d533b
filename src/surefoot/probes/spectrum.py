"""The whole spectrum, now and then: an operator comes in, a Field and Readings go out.

An eigenvalue says how sharp the sharpest direction is; how many directions are nearly
as sharp, how many are flat or curve downwards, and in which tensors the curvature lies
is told by a few dozen products more.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import replace

import torch

from surefoot.curvature.density import spectral_density
from surefoot.curvature.estimate import Estimate
from surefoot.curvature.matrix import Probes, as_operator
from surefoot.curvature.operators import Operator
from surefoot.probes.rhythm import within
from surefoot.types import Field, Reading

STARTS, STEPS, SIGNS = 2, 16, 8
"""Random starts and steps of Lanczos for the spectrum, random signs for the traces."""

PRODUCTS = STARTS * STEPS + SIGNS

RARER = 10
"""With a fixed interval, the spectrum is taken so many times as rarely as the rest."""

LAYER = "model"


class Spectra:
    """Takes the spectrum of one stream's Hessian, and the trace of each tensor's block.

    `percent` is its share of the training thread's CPU time; None takes it at a fixed
    interval. `seconds` is what it has cost.
    """

    def __init__(
        self,
        percent: float | None,
        *,
        every: int,
        field: Callable[[Field], None],
        put: Callable[[Reading], None],
    ) -> None:
        self.rhythm = within(percent, every=RARER * every)
        self.seconds = 0.0
        self._field, self._put = field, put

    def due(self, step: int, *, product_seconds: float, step_seconds: float) -> bool:
        """Whether to take it at this step; the first waits until it can be afforded."""
        percent = self.rhythm.percent
        if self.rhythm.times == 0 and percent is not None:
            affordable = percent / 100 * step_seconds * step
            if affordable < PRODUCTS * product_seconds:
                return False
        return self.rhythm.due(step)

    def see(
        self,
        operator: Operator,
        top: Estimate,
        stream: str,
        *,
        step: int,
        step_seconds: float,
    ) -> None:
        """Take it; `top` is the largest eigenvalue, which is known already."""
        start = time.thread_time()
        density = spectral_density(operator, probes=STARTS, steps=STEPS)
        known = {"top": {LAYER: [top.value]}, "errors": {LAYER: [top.error]}}
        field = density.field(step, LAYER, operator="hessian", **known)
        self._field(replace(field, stream=stream))
        traces, errors = tensor_traces(operator, SIGNS)
        self._put(Reading(step, "hessian_trace", operator.space.names, traces))
        self._put(Reading(step, "hessian_trace_error", operator.space.names, errors))
        spent = time.thread_time() - start
        self.seconds += spent
        self.rhythm.spent(spent, step_seconds)


def tensor_traces(
    operator: Operator, signs: int, *, seed: int = 0
) -> tuple[torch.Tensor, torch.Tensor]:
    """The trace of each tensor's own block, and its standard error, `[tensors]` each.

    Hutchinson's estimate (1990) with the same random signs for all tensors: a tensor
    that holds little of the whole trace has a large error, which is stated.

    >>> from torch import nn
    >>> from surefoot.curvature.operators import hessian
    >>> model, batch = nn.Linear(2, 1, bias=False), torch.eye(2)
    >>> H = hessian(model, batch, loss_fn=lambda m, x: m(x).square().mean())
    >>> tensor_traces(H, 2)
    (tensor([2.]), tensor([0.]))
    """
    matrix = as_operator(operator)
    probes = Probes(matrix, seed)
    rows: list[torch.Tensor] = []
    for _ in range(signs):
        sign = probes.signs()
        parts = (sign * (matrix @ sign)).split(operator.space.sizes)
        rows.append(torch.stack([part.sum() for part in parts]).float())
    found = torch.stack(rows)
    return found.mean(0), found.std(0) / math.sqrt(signs)
