"""An optimizer about to step comes in, what the controller goes by goes out.

Everything is measured on the device, in few kernels, and read by whoever asks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from surefoot.gradients.norms import total_norm, weights_of

EVERY, DENSE = 4, 64
"""Updates between two looks at the moments and the cosine, after the first 64: each
takes about as long as the update itself. What is decided in the first dozens of updates
came late with every fourth: a stalled GPT ended at 3.21 instead of 2.80."""


class Gauges:
    """The instruments of one optimizer.

    Adam and its kin keep what the last update was made of. Of all others the weights
    before an update are kept, where it is looked at.
    """

    def __init__(self, optimizer: Optimizer) -> None:
        self._optimizer = optimizer
        self._before: list[Tensor] | None = None
        self._looked = False

    def norm(self) -> Tensor:
        """2-norm of the whole gradient, unscaled, shape `[]`."""
        return total_norm(self._optimizer)

    def forget(self) -> None:
        """The weights were put elsewhere: the last update is none to look at."""
        self._before, self._looked = None, False

    def look(self) -> tuple[Tensor | None, Tensor | None]:
        """Noise ratio and cosine of the last update, where one was to be looked at."""
        looked, self._looked = self._looked, False
        if not looked:
            return None, None
        parts = self._adam_like()
        if parts is not None:
            return parts
        before, self._before = self._before, None
        if before is None:
            return None, None
        now = self._with_gradient()
        moved = torch._foreach_sub(before, [w.detach() for w in now])  # pyright: ignore[reportPrivateUsage, reportPrivateImportUsage]
        return None, _cosine([(1.0, [_grad(w) for w in now], [*moved])])

    def arm(self, step: int) -> None:
        """Call before an update: whether it will be looked at afterwards."""
        self._looked = step < DENSE or step % EVERY == 0
        if self._looked and not self._keeps_moments():
            self._before = [w.detach().clone() for w in self._with_gradient()]

    def _with_gradient(self) -> list[Tensor]:
        return [w for w in weights_of(self._optimizer) if w.grad is not None]

    def _keeps_moments(self) -> bool:
        states = self._optimizer.state
        return any("exp_avg" in s and "exp_avg_sq" in s for s in states.values())

    def _adam_like(self) -> tuple[Tensor, Tensor] | None:
        """The same from the moments; None for an optimizer that keeps none."""
        rates = [float(group["lr"]) for group in self._optimizer.param_groups]
        parts: list[tuple[float, list[Tensor], list[Tensor]]] = []
        squares, count = list[Tensor](), 0
        for group, rate in zip(self._optimizer.param_groups, rates, strict=True):
            held = [w for w in group["params"] if self._moments_of(w)]
            if not held or "betas" not in group:
                continue
            updates = _updates(group, [self._optimizer.state[w] for w in held])
            parts.append(
                (rate / (max(rates) or 1.0), [_grad(w) for w in held], updates)
            )
            noise = noise_floor(float(group["betas"][0]))
            squares.append((_norm(updates) / noise).square())
            count += sum(w.numel() for w in held)
        if not parts:
            return None
        ratio = (torch.stack(squares).sum() / count).sqrt()
        return ratio, _cosine(parts)

    def _moments_of(self, weight: Tensor) -> bool:
        state: dict[str, Any] = self._optimizer.state.get(weight, {})
        return weight.grad is not None and "exp_avg" in state and "exp_avg_sq" in state


def noise_floor(beta: float) -> float:
    """RMS of Adam's update under gradients of pure noise, at a rate of 1.

    The first moment of unit noise has the variance (1 − β₁)/(1 + β₁), the second
    moment is 1.

    >>> round(noise_floor(0.9), 3)
    0.229
    """
    return math.sqrt((1 - beta) / (1 + beta))


def _updates(group: dict[str, Any], states: Sequence[dict[str, Any]]) -> list[Tensor]:
    """What Adam added to each weight, over the learning rate, as it goes downhill."""
    first, second = (float(beta) for beta in group["betas"])
    largest = group.get("amsgrad", False)
    squared = [s["max_exp_avg_sq" if largest else "exp_avg_sq"] for s in states]
    made = states[0].get("step", 1)
    made = made.to(squared[0].device) if isinstance(made, Tensor) else float(made)
    if isinstance(made, Tensor) and made.device.type == "cpu":
        made = float(made)
    roots = torch._foreach_sqrt(squared)  # pyright: ignore[reportPrivateUsage, reportPrivateImportUsage]
    torch._foreach_div_(roots, (1 - second**made) ** 0.5)  # pyright: ignore[reportPrivateUsage, reportPrivateImportUsage]
    torch._foreach_add_(roots, float(group.get("eps", 1e-8)))  # pyright: ignore[reportPrivateUsage, reportPrivateImportUsage]
    moments = [s["exp_avg"] for s in states]
    updates = torch._foreach_div(moments, roots)  # pyright: ignore[reportPrivateUsage, reportPrivateImportUsage]
    torch._foreach_div_(updates, 1 - first**made)  # pyright: ignore[reportPrivateUsage, reportPrivateImportUsage]
    return [*updates]


def _cosine(parts: Sequence[tuple[float, list[Tensor], list[Tensor]]]) -> Tensor:
    """Between gradients and updates downhill, each group at its share of the rate."""
    dots, ours, theirs = list[Tensor](), list[Tensor](), list[Tensor]()
    for share, grads, updates in parts:
        products = torch._foreach_mul(grads, updates)  # pyright: ignore[reportPrivateUsage, reportPrivateImportUsage]
        dots.append(share * torch.stack([one.sum() for one in products]).sum())
        ours.append(_norm(grads))
        theirs.append(share * _norm(updates))
    length = torch.stack(ours).norm() * torch.stack(theirs).norm()
    return torch.stack(dots).sum() / (length + 1e-30)


def _norm(tensors: Sequence[Tensor]) -> Tensor:
    rows = torch._foreach_norm(list(tensors))  # pyright: ignore[reportPrivateUsage, reportPrivateImportUsage]
    return torch.stack(rows).norm()


def _grad(weight: Tensor) -> Tensor:
    if weight.grad is None:
        raise ValueError("a weight without a gradient came; expected one with it")
    return weight.grad
