"""Trial updates: a Bench comes in, fits, lines and update sizes go out; all undone."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import nn

from surefoot.nn.init.layers import between, first_float, rows
from surefoot.preflight.tape import Tape
from surefoot.preflight.trial import Fit, Line, Subject
from surefoot.restore.bare_step import bare_step
from surefoot.restore.snapshot import Snapshot

FIT_STEPS = 40
"""Updates of a one-batch fit. benchmarks/preflight.py: healthy networks take a fifth
off the loss of one batch in fewer, at the rate they are trained with."""

FACTORS = tuple(10 ** (k / 3) for k in range(-12, 10))
"""Lengths along the first update: four decades below it to three above."""


ROUNDING = 1e-6
"""Share of a loss that is lost in its last digits: some steps of float32, 1.2e-7."""

NOISE = 0.05
"""Share of what can be won along a line. In bfloat16 the loss jumps by less, and along
a line that overshoots it rises by more within one of the FACTORS."""


@dataclass(frozen=True, slots=True)
class Bench:
    """One subject under trial, and the snapshot that every trial begins from."""

    subject: Subject
    snapshot: Snapshot
    until: float

    def loss(self) -> torch.Tensor:
        """The loss of the batch, with the same random numbers each time."""
        self.snapshot.random.restore()
        value = self.subject.loss_fn(self.subject.model, self.subject.batch)
        if getattr(value, "numel", lambda: 0)() != 1:
            came = getattr(value, "shape", type(value).__name__)
            raise ValueError(
                f"loss_fn gave {came}; expected a tensor with one element; reduce the "
                "loss with .mean() or .sum(), and do not call .item() on it"
            )
        return value.reshape(())

    def weights(self) -> list[torch.Tensor]:
        """The tensors that the optimizer changes."""
        return list(self.subject.held().values())

    @property
    def late(self) -> bool:
        """Whether the time is up."""
        return time.monotonic() > self.until


def fit(bench: Bench, factor: float, steps: int = FIT_STEPS) -> Fit:
    """Train on the one batch at `factor` times the learning rate, then undo it."""
    bench.snapshot.rewind()
    _scale_rate(bench, factor)
    losses: list[float] = []
    for _ in range(steps):
        losses.append(backward(bench))
        if not math.isfinite(losses[-1]) or bench.late:
            break
        update(bench)
    spread = math.nan if not math.isfinite(losses[-1]) else _spread(bench)
    bench.snapshot.rewind()
    return Fit(factor, tuple(losses), spread)


def backward(bench: Bench) -> float:
    """One backward pass, clipped as the run clips; the loss."""
    for weight in bench.weights():
        weight.grad = None
    loss = bench.loss()
    loss.backward()
    if bench.subject.max_grad_norm is not None:
        nn.utils.clip_grad_norm_(bench.weights(), bench.subject.max_grad_norm)
    return float(loss.detach())


def update(bench: Bench) -> None:
    """One update, past all hooks: nothing that watches the optimizer sees it."""
    if bench.subject.optimizer is not None:
        bare_step(bench.subject.optimizer)


def first_update(bench: Bench) -> list[torch.Tensor]:
    """The change of each held tensor by the first update; the weights stay put."""
    bench.snapshot.rewind()
    before = [weight.detach().clone() for weight in bench.weights()]
    backward(bench)
    update(bench)
    after = [weight.detach().clone() for weight in bench.weights()]
    bench.snapshot.rewind()
    return [new - old for new, old in zip(after, before, strict=True)]


def line(bench: Bench, change: Sequence[torch.Tensor]) -> Line:
    """The loss along an update, at fractions and multiples of its length."""
    start = _loss_at(bench, change, 0.0)
    losses = tuple(_loss_at(bench, change, factor) for factor in FACTORS)
    bench.snapshot.rewind()
    lowest = min((loss for loss in losses if math.isfinite(loss)), default=start)
    noise = NOISE * max(0.0, start - lowest) + ROUNDING * abs(start)
    above = [not loss <= start + noise for loss in losses]
    rising = [a and b for a, b in pairwise([*above, above[-1]])]
    first = rising.index(True) if True in rising else None
    return Line(
        FACTORS,
        losses,
        critical=math.inf if first is None else FACTORS[first],
        best=FACTORS[losses.index(lowest)] if lowest < start else 0.0,
    )


@torch.no_grad()
def _loss_at(bench: Bench, change: Sequence[torch.Tensor], factor: float) -> float:
    bench.snapshot.rewind()
    for weight, delta in zip(bench.weights(), change, strict=True):
        weight.add_(delta, alpha=factor)
    with torch.enable_grad():
        return float(bench.loss().detach())


def _scale_rate(bench: Bench, factor: float) -> None:
    optimizer = bench.subject.optimizer
    for group in [] if optimizer is None else optimizer.param_groups:
        group["lr"] = group["lr"] * factor


def _spread(bench: Bench) -> float:
    """How much the outputs of different rows differ now."""
    with Tape() as tape:
        bench.loss()
    out = first_float(tape.calls[-1].result) if tape.calls else None
    return math.nan if out is None else between(rows(out.detach()).float())
