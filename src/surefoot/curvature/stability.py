"""The edge of stability: a curvature and an optimizer come in, a gauge goes out.

On a quadratic with curvature a, gradient descent at rate η multiplies the error by
1 − ηa: it shrinks below a = 2/η, stays at 2/η and grows above. Momentum,
preconditioners and weight decay move this line; the lines here follow from the linear
recurrence of each optimizer, whose largest root leaves the unit circle at −1.

Sources: Cohen et al. 2021 (arXiv 2103.00065) for gradient descent and momentum, Cohen
et al. 2022 (arXiv 2207.14484) for adaptive optimizers. Both found that full-batch
training settles at the line, and that small batches stay below it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from torch.optim import SGD, Adagrad, Adam, Adamax, Optimizer, RMSprop

State = Literal["below", "at the edge", "above", "unresolved"]

EDGE = (0.9, 1.25)
"""Ratios of curvature to line that count as "at the edge". Cohen 2021: the sharpness
hovers just above 2/η. A tanh network under full-batch descent (the one of
tests/curvature/test_stability.py, four rates, two seeds): 0.99 to 1.20 from a tenth of
the run on, wherever it met the line."""


class Known(Protocol):
    """A number with an error, such as an `Estimate`."""

    @property
    def value(self) -> float:
        """The number."""
        ...

    @property
    def error(self) -> float:
        """What it may be off by."""
        ...


@dataclass(frozen=True, slots=True)
class StabilityLine:
    """The curvature above which one parameter group of an optimizer is unstable.

    `value` is the line, in units of curvature (loss per squared weight), or of the
    preconditioned curvature where `preconditioned`. `decay` is the factor of an L2
    decay, which is part of the loss that is descended: it adds itself to the curvature
    before that is preconditioned. Decoupled decay (AdamW) moves the line instead.
    """

    value: float
    rule: str
    preconditioned: bool
    decay: float = 0.0


@dataclass(frozen=True, slots=True)
class Gauge:
    """How far training is from the edge of stability.

    `ratio` is the curvature over the line: 1 is the edge. `error` and `ratio_error`
    bound what the estimate may be off by, or are one standard error, as the estimate's.
    """

    sharpness: float
    error: float
    line: float
    ratio: float
    ratio_error: float
    rule: str
    state: State
    note: str = ""

    def __str__(self) -> str:
        """One sentence with value, line, ratio and verdict."""
        seen = f"curvature {self.sharpness:.3g} ± {self.error:.1g}"
        against = f"line {self.rule} = {self.line:.3g}"
        said = f"{seen}, {against}, ratio {self.ratio:.2f}: {_VERDICTS[self.state]}"
        return f"{said} ({self.note})" if self.note else said


_VERDICTS: Mapping[State, str] = {
    "below": "below the line; a step along the sharpest direction shrinks it",
    "at the edge": "at the edge of stability; larger steps bounce along the sharpest "
    "direction",
    "above": "above the line; on a quadratic this diverges, so the curvature must fall "
    "or the loss will rise",
    "unresolved": "the error of the curvature is too wide to tell",
}


def stability_line(
    optimizer: Optimizer, group: Mapping[str, Any] | None = None
) -> StabilityLine:
    """The line of one parameter group; of the first one if none is given.

    | optimizer | line |
    |-|-|
    | SGD | 2/η |
    | SGD, momentum β, dampening τ | 2(1+β)/((1−τ)η) |
    | SGD, Nesterov | 2(1+β)/((1+2β)η) |
    | Adam, AdamW, Adamax (preconditioned) | (2+2β₁)/((1−β₁)η): 38/η at β₁ = 0.9 |
    | RMSprop with momentum β (preconditioned) | 2(1+β)/η |
    | Adagrad (preconditioned) | 2/η |

    Args:
        optimizer: SGD, Adam, AdamW, Adamax, RMSprop or Adagrad of torch.
        group: one of `optimizer.param_groups`.

    Raises:
        ValueError: an optimizer with another rule, or one that maximises.

    >>> import torch
    >>> weight = torch.nn.Parameter(torch.ones(1))
    >>> stability_line(torch.optim.SGD([weight], lr=0.1)).value
    20.0
    >>> round(stability_line(torch.optim.Adam([weight], lr=0.1)).value)
    380
    """
    group = optimizer.param_groups[0] if group is None else group
    if group.get("maximize"):
        raise ValueError(
            "the optimizer maximises; the edge of stability is that of a descent: "
            "measure the negated loss with an optimizer that minimises it"
        )
    if isinstance(optimizer, SGD):
        return _sgd(group)
    if isinstance(optimizer, Adam | Adamax):
        return _adam(group)
    if isinstance(optimizer, RMSprop):
        return _rmsprop(group)
    if isinstance(optimizer, Adagrad):
        return StabilityLine(_over(2.0, _rate(group)), "2/η", True, _decay(group))
    raise ValueError(
        f"no stability line is known for {type(optimizer).__name__}; expected SGD, "
        "Adam, AdamW, Adamax, RMSprop or Adagrad of torch.optim: work out the line of "
        "yours on a quadratic and call gauge(sharpness, StabilityLine(...))"
    )


def largest_rate(curvature: float) -> float:
    """The rate 2/h at which plain gradient descent on this curvature is at its edge.

    >>> largest_rate(10.0)
    0.2
    """
    return _over(2.0, curvature)


def stability_lines(optimizer: Optimizer) -> tuple[StabilityLine, ...]:
    """The line of each parameter group, in the order of `optimizer.param_groups`."""
    return tuple(stability_line(optimizer, group) for group in optimizer.param_groups)


def gauge(sharpness: Known, line: StabilityLine, *, note: str = "") -> Gauge:
    """Hold the largest eigenvalue of the Hessian against a line.

    Args:
        sharpness: λ_max with its error; of the preconditioned Hessian where the line
            is (`line.preconditioned`).
        line: where the edge is. Its L2 decay is added, unless the curvature is
            preconditioned: then it must be in there (`curvature.edge.stability`).
        note: what a reader must know beside the numbers.

    >>> from surefoot.curvature.estimate import Estimate
    >>> measured = Estimate(19.0, 0.1, products=8, method="lanczos")
    >>> print(gauge(measured, StabilityLine(20.0, "2/η", False)))
    curvature 19 ± 0.1, line 2/η = 20, ratio 0.95: at the edge of stability; larger
    steps bounce along the sharpest direction
    """
    value = sharpness.value + (0.0 if line.preconditioned else line.decay)
    ratio, error = _share(value, line.value), _share(sharpness.error, line.value)
    return Gauge(
        value, sharpness.error, line.value, ratio, error, line.rule,
        _state(ratio, error), note,
    )  # fmt: skip


def edge_of_stability(sharpness: Known, optimizer: Optimizer) -> Gauge:
    """Hold λ_max against the lines of all groups of an optimizer.

    With several lines the largest eigenvalue alone does not decide: by Ostrowski's
    theorem the ratio lies between λ_max over the highest line and λ_max over the
    lowest. The gauge then shows the higher ratio, and the whole range as its error;
    `curvature.edge.stability` measures it exactly.

    Args:
        sharpness: λ_max with its error, preconditioned for adaptive optimizers.
        optimizer: as it is now; its rates may be scheduled.

    Raises:
        ValueError: as `stability_line`.
    """
    found = [
        gauge(sharpness, line)
        for group, line in zip(
            optimizer.param_groups, stability_lines(optimizer), strict=True
        )
        if group["params"]
    ]
    worst = max(found, key=lambda one: one.ratio)
    least = min(one.ratio for one in found)
    if worst.ratio - least <= worst.ratio_error:
        return worst
    error = worst.ratio - least + worst.ratio_error
    return Gauge(
        worst.sharpness, worst.error, worst.line, worst.ratio, error, worst.rule,
        _state_between(least - worst.ratio_error, worst.ratio + worst.ratio_error),
        f"parameter groups have different lines: the ratio is {least:.2f} to "
        f"{worst.ratio:.2f}",
    )  # fmt: skip


# --- the rules ------------------------------------------------------------------


def _sgd(group: Mapping[str, Any]) -> StabilityLine:
    rate, beta = _rate(group), float(group["momentum"])
    decay, damped = _decay(group), 1 - float(group["dampening"])
    if group["nesterov"]:
        value = _over(2 * (1 + beta), rate * (1 + 2 * beta))
        return StabilityLine(value, "2(1+β)/((1+2β)η)", False, decay)
    if beta == 0:
        return StabilityLine(_over(2.0, rate), "2/η", False, decay)
    rule = "2(1+β)/η" if damped == 1 else "2(1+β)/((1−τ)η)"
    return StabilityLine(_over(2 * (1 + beta), rate * damped), rule, False, decay)


def _adam(group: Mapping[str, Any]) -> StabilityLine:
    """Adam's momentum is an average, so the rate in it is η(1−β₁).

    Decoupled decay shrinks the weights beside it: the recurrence of w and m has trace
    1 − ηλ − η(1−β₁)a + β₁ and determinant β₁(1 − ηλ), and a root −1 where
    a = (1+β₁)(2−ηλ)/((1−β₁)η).
    """
    rate, beta = _rate(group), float(group["betas"][0])
    decay = _decay(group)
    below = rate * (1 - beta)
    text = f"{2 * (1 + beta) / (1 - beta):.4g}/η"
    if group.get("decoupled_weight_decay") and decay:
        value = _over((1 + beta) * (2 - rate * decay), below)
        return StabilityLine(value, f"{text}, less decoupled decay", True)
    return StabilityLine(_over(2 * (1 + beta), below), text, True, decay)


def _rmsprop(group: Mapping[str, Any]) -> StabilityLine:
    beta = float(group["momentum"])
    rule = "2(1+β)/η" if beta else "2/η"
    value = _over(2 * (1 + beta), _rate(group))
    return StabilityLine(value, rule, True, _decay(group))


def _rate(group: Mapping[str, Any]) -> float:
    """The learning rate now; it may be a tensor (capturable optimizers)."""
    return float(group["lr"])


def _decay(group: Mapping[str, Any]) -> float:
    return float(group.get("weight_decay", 0.0))


def _over(value: float, rate: float) -> float:
    """Divided by a rate; with none there is no line."""
    return value / rate if rate > 0 else math.inf


# --- the verdict ----------------------------------------------------------------


def _share(value: float, line: float) -> float:
    if line > 0:
        return value / line
    return math.nan if math.isnan(line) else math.inf


def _state(ratio: float, error: float) -> State:
    return _state_between(ratio - error, ratio + error)


def _state_between(low: float, high: float) -> State:
    """Where the whole of a range lies; unresolved if it lies on both sides."""
    if high < EDGE[0]:
        return "below"
    if low > EDGE[1]:
        return "above"
    if low >= EDGE[0] - _SLACK and high <= EDGE[1] + _SLACK:
        return "at the edge"
    return "unresolved"


_SLACK = 0.1
"""What a range may reach out of the edge: the edge is not sharper than a tenth, as the
ratio swings by that from step to step (Cohen 2021, figure 3)."""
