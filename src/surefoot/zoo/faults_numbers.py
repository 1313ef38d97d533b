"""Faults of arithmetic: a task comes in, the truth about what was planted goes out."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
from torch import nn

from surefoot.zoo.places import Switched, append, insert, middle, module, weighted
from surefoot.zoo.task import Rng, Task, Truth, before_step

GUARDED = ("guard", "skip non-finite", "clip")
NOT_FINITE = ("nonfinite",)


class LogOfNegative(Switched):
    """The logarithm of a negative number: the output is NaN."""

    def fault(self, x: torch.Tensor) -> torch.Tensor:
        """NaN."""
        return x + torch.log((x - x.detach()) - 1)


class RootOfZero(Switched):
    """The root of zero: the output is sound, its gradient is not."""

    def fault(self, x: torch.Tensor) -> torch.Tensor:
        """The input; the gradient is 0 times infinity."""
        rest = x - x.detach()
        return x + torch.sqrt(rest * rest)


class ZeroByZero(Switched):
    """A quotient of zeros, as a normalisation without epsilon makes."""

    def fault(self, x: torch.Tensor) -> torch.Tensor:
        """NaN."""
        rest = x - x.detach()
        return x + rest / rest.detach()


def log_of_negative(task: Task, rng: Rng, strength: int) -> Truth:
    """A module takes the logarithm of a negative number."""
    return _breaks(task, rng, LogOfNegative())


def root_of_zero(task: Task, rng: Rng, strength: int) -> Truth:
    """A module takes the gradient of a root at zero."""
    return _breaks(task, rng, RootOfZero())


def zero_by_zero(task: Task, rng: Rng, strength: int) -> Truth:
    """A module divides zero by zero."""
    return _breaks(task, rng, ZeroByZero())


def _breaks(task: Task, rng: Rng, new: Switched) -> Truth:
    onset = middle(task, rng)
    name = insert(task, rng, new)
    before_step(task, onset, new.switch)
    return Truth(("numeric fault",), onset, (name,), GUARDED, NOT_FINITE)


class HalfPrecision(nn.Module):
    """Computes a linear layer in half precision."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The layer's output, rounded to half precision, infinite beyond 65504."""
        return self.inner(x).half().float()


def half_overflow(task: Task, rng: Rng, strength: int) -> Truth:
    """A layer whose output grows is computed in half precision.

    The layer after it undoes the growth: in single precision all would be well.
    """
    model = task.model
    names = _pairs(model)
    first, second = names[int(rng.integers(len(names)))]
    onset, growth = middle(task, rng), (1.5, 2.0, 8.0)[strength - 1]
    grown, shrunk = module(model, first), module(model, second)
    wrapped = HalfPrecision(grown)
    model.set_submodule(first, wrapped)

    def grow() -> None:
        with torch.no_grad():
            grown.weight.mul_(growth)
            grown.bias.mul_(growth)
            shrunk.weight.div_(growth)

    for k in range(onset, task.steps):
        before_step(task, k, grow)
    layers = (first, f"{first}.inner", f"{first}.inner.weight", second)
    causes = ("half precision overflow", "numeric fault")
    return Truth(causes, onset, layers, ("wider dtype", "rescale"), NOT_FINITE)


def _pairs(model: nn.Module) -> list[tuple[str, str]]:
    """Neighbouring linear layers with one activation between them."""
    names = weighted(model)
    feeds = [name for name in names if name.endswith("feed.0")]
    if feeds:
        return [(name, name.replace("feed.0", "feed.2")) for name in feeds]
    return [
        (a, b)
        for a, b in pairwise(names)
        if type(module(model, a)) is type(module(model, b))
    ]


class Rounded(nn.Module):
    """Rounds logits to bfloat16, as a network without float32 logits does."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The nearest bfloat16 numbers."""
        return x.bfloat16().float()


def logit_drift(task: Task, rng: Rng, strength: int) -> Truth:
    """All logits of the last layer drift upwards, until bfloat16 cannot tell them."""
    head: Any = module(task.model, weighted(task.model)[-1])
    onset, pace = middle(task, rng), (5.0, 20.0, 100.0)[strength - 1]
    append(task, Rounded())

    def drift() -> None:
        head.bias.data.add_(pace)

    for k in range(onset, task.steps):
        before_step(task, k, drift)
    name = weighted(task.model)[-1]
    layers = (name, f"{name}.weight", f"{name}.bias")
    return Truth(("output logits drift",), onset, layers, ("z-loss", "weight decay"))


def attention_growth(task: Task, rng: Rng, strength: int) -> Truth:
    """Queries and keys grow until each attention looks at one place only."""
    model: Any = task.model
    parts = [block.attention.qkv for block in model.blocks]
    onset, pace = middle(task, rng), (1.05, 1.1, 1.3)[strength - 1]
    width = 2 * parts[0].out_features // 3

    def grow() -> None:
        for part in parts:
            # Beyond this size a softmax is a maximum: only the range would suffer.
            if float(part.weight[:width].detach().abs().max()) < 1e3:
                part.weight.data[:width].mul_(pace)

    for step in range(onset, task.steps):
        before_step(task, step, grow)
    layers = [f"blocks.{k}.attention" for k in range(len(parts))]
    layers += [f"{one}{end}" for one in layers for end in (".qkv", ".qkv.weight")]
    fixes = ("qk norm", "lower lr", "weight decay")
    return Truth(("attention logits grow",), onset, tuple(layers), fixes)
