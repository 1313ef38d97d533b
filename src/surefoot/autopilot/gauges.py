"""Gradients and updates come in, the numbers that steering goes by go out.

All stays on the device, in few kernels, and is read by whoever asks. Of large models a
sample is looked at: an angle is known from tens of thousands of numbers as well as
from millions, and costs a hundredth.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from surefoot.gradients.norms import local_part, weights_of

EVERY, DENSE = 4, 64
"""Updates between two looks at the moments and the cosine, after the first 64. What is
decided in the first dozens of updates came late with every fourth: a stalled GPT ended
at 3.21 instead of 2.80."""

SAMPLE, CHUNK = 65536, 16
"""Numbers that are looked at, of all weights evenly, in pieces as long as a line of a
cache. The cosine of a sample was off by 0.07 in a perceptron of 5 M weights, where it
differs by 0.36 from batch to batch, and by 0.03 in a GPT of 2.8 M, where it does by
0.09; of the mean over 40 and 15 updates by 0.002."""

PHASES = 8
"""Samples that take turns: the same places for ever were off by 0.03 in the mean."""

SUMS = 5
"""A look is a row of five sums, which add up over the shards of a model: gradient times
update downhill, squares of each, squares of Adam's update over those that noise would
make, and their number, zero where no second moment is known."""


class Gauges:
    """The instruments of one optimizer.

    Adam and its kin keep what the last update was made of. Of all others a sample of
    the weights before an update is kept, where it is looked at.
    """

    def __init__(self, optimizer: Optimizer) -> None:
        self._optimizer = optimizer
        self._before: tuple[list[Tensor], Tensor] | None = None
        self._looked = False
        self._phase = 0

    def forget(self) -> None:
        """The weights were put elsewhere: the last update is none to look at."""
        self._before, self._looked = None, False

    def look(self) -> Tensor | None:
        """The sums of `SUMS` over the last update; None where it is not looked at."""
        looked, self._looked = self._looked, False
        before, self._before = self._before, None
        if not looked:
            return None
        kept = self._from_moments()
        if kept is not None or before is None:
            return kept
        weights, were = before
        if any(weight.grad is None for weight in weights):
            return None
        phase, shares = self._phase, _shares(weights, self._phase)
        grads = sampled([_grad(one) for one in weights], phase)
        sums = _sums(grads, were - sampled(weights, phase), shares)
        return torch.stack([*sums, *[shares.new_zeros(())] * 2])

    def arm(self, step: int) -> None:
        """Call before an update: whether it will be looked at afterwards."""
        self._looked = step < DENSE or step % EVERY == 0
        self._phase = (self._phase + self._looked) % PHASES
        if not self._looked or self._keeps_moments():
            return
        weights = [w for w in weights_of(self._optimizer) if _dense(w)]
        if weights:
            self._before = weights, sampled(weights, self._phase)

    def _keeps_moments(self) -> bool:
        states = self._optimizer.state
        return any("exp_avg" in s and "exp_avg_sq" in s for s in states.values())

    def _from_moments(self) -> Tensor | None:
        """The same from the moments; None for an optimizer that keeps none."""
        groups = self._optimizer.param_groups
        fastest = max(float(group["lr"]) for group in groups) or 1.0
        rows: list[Tensor] = []
        for group in groups:
            held = [w for w in group["params"] if self._moments_of(w)]
            if not held or "betas" not in group:
                continue
            states = [self._optimizer.state[w] for w in held]
            phase, shares = self._phase, _shares(held, self._phase)
            grads = sampled([_grad(w) for w in held], phase)
            sums = _sums(grads, _update(group, states, phase), shares)
            share = float(group["lr"]) / fastest
            noise = noise_floor(float(group["betas"][0]))
            weighed = [share * sums[0], sums[1], share**2 * sums[2]]
            rows.append(torch.stack([*weighed, sums[2] / noise**2, shares.sum()]))
        return torch.stack(rows).sum(0) if rows else None

    def _moments_of(self, weight: Tensor) -> bool:
        state: dict[str, Any] = self._optimizer.state.get(weight, {})
        return _dense(weight) and "exp_avg" in state and "exp_avg_sq" in state


def sampled(tensors: Sequence[Tensor], phase: int = 0) -> Tensor:
    """A sample of all numbers, shape `[n]`, float32; all of them where they are few.

    Of the parts that this process holds; the places are the same for tensors of the
    same shapes, and others in each of the `PHASES`.

    >>> len(sampled([torch.ones(1000, 1000), torch.ones(3)]))
    66675
    """
    own = [local_part(one) for one in tensors]
    home, stride = own[0].device, _stride([one.numel() for one in own])
    if stride == 1:
        parts = [one.reshape(-1) for one in own]
    else:
        parts = [_pieces(one, stride, phase) for one in own]
    if any(one.device != home for one in parts):
        parts = [one.to(home) for one in parts]
    return torch.cat(parts).float()


@lru_cache(maxsize=4 * PHASES)
def shares_of(sizes: tuple[int, ...], phase: int, home: torch.device) -> Tensor:
    """How many numbers each one of their sample stands for, shape `[n]`, float32.

    >>> round(float(shares_of((10**6, 3), 5, torch.device("cpu")).sum()))
    1000003
    """
    stride = _stride(sizes)
    if stride == 1:
        return torch.ones((), device=home).expand(sum(sizes))
    counts = [_taken(size, stride, phase)[1] for size in sizes]
    shares = [
        size / count if count else 0.0
        for size, count in zip(sizes, counts, strict=True)
    ]
    spread = torch.tensor(shares).repeat_interleave(torch.tensor(counts))
    return spread.to(home)


def _shares(tensors: Sequence[Tensor], phase: int) -> Tensor:
    own = [local_part(one) for one in tensors]
    return shares_of(tuple(one.numel() for one in own), phase, own[0].device)


def _stride(sizes: Sequence[int]) -> int:
    """Every so manieth piece is looked at; odd, so that rows do not repeat it."""
    return sum(sizes) // SAMPLE | 1


def _taken(size: int, stride: int, phase: int) -> tuple[int, int]:
    """Of a tensor's numbers: the first in the sample, and how many are in it.

    >>> _taken(160, 5, 0), _taken(160, 5, 3), _taken(48, 5, 7), _taken(3, 5, 7)
    ((0, 32), (16, 32), (32, 16), (0, 3))
    """
    pieces = size // CHUNK
    if pieces == 0:
        return 0, size
    start = phase * min(stride, pieces) // PHASES
    return CHUNK * start, CHUNK * ((pieces - 1 - start) // stride + 1)


def _pieces(tensor: Tensor, stride: int, phase: int) -> Tensor:
    """Every so manieth piece of all numbers of a tensor."""
    start, count = _taken(tensor.numel(), stride, phase)
    whole = tensor.contiguous()
    if count < CHUNK:
        return whole.reshape(-1)
    size, step = (count // CHUNK, CHUNK), (CHUNK * stride, 1)
    return whole.as_strided(size, step, whole.storage_offset() + start).reshape(-1)


def cosine_of(sums: Sequence[float]) -> float | None:
    """The cosine between a gradient and an update downhill; None if not finite.

    >>> cosine_of((1.0, 4.0, 1.0, 0.0, 0.0))
    0.5
    """
    dot, grads, updates = sums[:3]
    product = grads * updates
    if not (math.isfinite(dot) and math.isfinite(product)):
        return None
    return dot / (math.sqrt(product) + 1e-30)


def noise_of(sums: Sequence[float]) -> float | None:
    """RMS of Adam's update over that of pure noise; None where it is not known.

    >>> noise_of((1.0, 4.0, 1.0, 9.0, 1.0))
    3.0
    """
    squares, count = sums[3:5]
    return math.sqrt(squares / count) if count > 0 and squares >= 0 else None


def noise_floor(beta: float) -> float:
    """RMS of Adam's update under gradients of pure noise, at a rate of 1.

    The first moment of unit noise has the variance (1 − β₁)/(1 + β₁), the second
    moment is 1.

    >>> round(noise_floor(0.9), 3)
    0.229
    """
    return math.sqrt((1 - beta) / (1 + beta))


def _update(
    group: dict[str, Any], states: Sequence[dict[str, Any]], phase: int
) -> Tensor:
    """What Adam took off the sampled weights, over the learning rate."""
    first, second = (float(beta) for beta in group["betas"])
    largest = group.get("amsgrad", False)
    squared = [s["max_exp_avg_sq" if largest else "exp_avg_sq"] for s in states]
    squares = sampled(squared, phase)
    made = states[0].get("step", 1)
    if isinstance(made, Tensor):
        made = made.to(squares.device) if made.device.type != "cpu" else float(made)
    roots = squares.sqrt() / (1 - second**made) ** 0.5 + float(group.get("eps", 1e-8))
    moments = sampled([s["exp_avg"] for s in states], phase)
    return moments / roots / (1 - first**made)


def _sums(grads: Tensor, update: Tensor, shares: Tensor) -> list[Tensor]:
    """Gradient times update, and the squares of each, over all that is stood for."""
    ours, theirs = grads * shares, update * shares
    return [ours.dot(update), ours.dot(grads), theirs.dot(update)]


def _dense(weight: Tensor) -> bool:
    return weight.grad is not None and weight.grad.layout is torch.strided


def _grad(weight: Tensor) -> Tensor:
    if weight.grad is None:
        raise ValueError("a weight without a gradient came; expected one with it")
    return weight.grad
