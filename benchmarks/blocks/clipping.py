"""Adaptive clipping beside torch's clip at a fixed norm, over models of many sizes."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from pytorch_optimizer.optimizer.agc import agc
from torch import nn

from benchmarks.blocks.measure import Measure, Work
from benchmarks.blocks.projection import resnet20
from surefoot.gradients import (
    Clip,
    EmaClip,
    PolicyClip,
    QuantileClip,
    UnitwiseClip,
    ZScoreClip,
)

Parameters = list[nn.Parameter]

FILLED = 210
"""Calls before timing: warm-ups are over, and histories full."""


def many_small() -> Parameters:
    """200 tensors of 64 elements: what is called costs more than what is counted."""
    return [nn.Parameter(torch.zeros(64)) for _ in range(200)]


def network() -> Parameters:
    """ResNet-20, 65 tensors and 270,000 elements."""
    return list(resnet20().parameters())


def few_large() -> Parameters:
    """Four tensors of 1 MB: what is counted costs more."""
    return [nn.Parameter(torch.zeros(512, 512)) for _ in range(4)]


MODELS = (
    ("200 small tensors", many_small),
    ("ResNet-20", network),
    ("4 large tensors", few_large),
)
CLIPS: tuple[tuple[str, Callable[[], Clip]], ...] = (
    ("QuantileClip", partial(QuantileClip, window=200)),
    ("ZScoreClip", ZScoreClip),
    ("EmaClip", partial(EmaClip, ceiling=None)),
    ("PolicyClip", PolicyClip),
)


def _with_gradients(make: Callable[[], Parameters]) -> Parameters:
    weights = make()
    source = torch.Generator().manual_seed(0)
    for weight in weights:
        weight.grad = torch.randn(weight.shape, generator=source)
    return weights


def ours(make: Callable[[], Parameters], clip: Callable[[], Clip], long: bool) -> Work:
    """A clip with a full history of norms around that of the gradients.

    With `long` they are 10 times that and put back before each call, as is the memory.
    """
    weights, made = _with_gradients(make), clip()
    kept = [weight.grad.clone() for weight in weights if weight.grad is not None]
    for call in range(FILLED):
        _put_back(weights, kept, times=1.0 + 0.1 * (call % 7))
        made(weights)
    _put_back(weights, kept, times=10.0 if long else 1.0)
    if not long:
        return lambda: made(weights)
    step, memory = made.step, made.state_dict()["memory"]
    kept = [weight.grad.clone() for weight in weights if weight.grad is not None]

    def work() -> None:
        _put_back(weights, kept)
        made.step = step
        made.memory.update(memory)
        made(weights)

    return work


def torchs(make: Callable[[], Parameters], long: bool) -> Work:
    """`clip_grad_norm_`, which multiplies whether or not it must."""
    weights = _with_gradients(make)
    if not long:
        return lambda: nn.utils.clip_grad_norm_(weights, 1.0)
    kept = [weight.grad.clone() for weight in weights if weight.grad is not None]

    def work() -> None:
        _put_back(weights, kept)
        nn.utils.clip_grad_norm_(weights, 1.0)

    return work


def _put_back(
    weights: Parameters, kept: list[torch.Tensor], *, times: float = 1.0
) -> None:
    grads = [weight.grad for weight in weights if weight.grad is not None]
    torch._foreach_copy_(grads, kept)
    if times != 1.0:
        torch._foreach_mul_(grads, times)


def by_units(make: Callable[[], Parameters]) -> Work:
    """Clipping by units."""
    weights, clip = _with_gradients(make), UnitwiseClip()
    return lambda: clip(weights)


def by_reference(make: Callable[[], Parameters]) -> Work:
    """The same by the reference code, which makes a new gradient."""
    weights = _with_gradients(make)

    def work() -> None:
        for weight in weights:
            if weight.grad is not None:
                weight.grad = agc(weight.detach(), weight.grad)

    return work


MEASURES: tuple[Measure, ...] = (
    *(
        Measure(
            f"{name}, {size}, {'clipped' if long else 'in bounds'}",
            "clip_grad_norm_",
            target=1.2,
            ours=partial(ours, make, clip, long),
            peer=partial(torchs, make, long),
            batches=10,
        )
        for long in (False, True)
        for name, clip in CLIPS
        for size, make in MODELS
    ),
    *(
        Measure(
            f"UnitwiseClip, {size}",
            "pytorch_optimizer agc",
            target=1.2,
            ours=partial(by_units, make),
            peer=partial(by_reference, make),
            batches=3,
        )
        for size, make in MODELS
    ),
)
