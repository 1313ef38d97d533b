"""What was measured before a run: plain values that the checks read.

In: nothing. Out: frozen values. Tensors in them are the live ones or detached copies;
no check writes to them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from surefoot.nn.init.layers import Layer
from surefoot.preflight.tape import LossCall
from surefoot.probes.wiring import Wiring
from surefoot.types import LossFunction


@dataclass(frozen=True, slots=True)
class Subject:
    """What is checked: the live objects, as the training loop would use them.

    `max_grad_norm` is the norm that gradients are clipped to, None without clipping.
    """

    model: nn.Module
    batch: Any
    loss_fn: LossFunction
    optimizer: torch.optim.Optimizer | None = None
    max_grad_norm: float | None = None

    @property
    def peak(self) -> float:
        """The rate that a schedule will reach over the rate of now; 1 if none is known.

        torch's schedulers keep it as `initial_lr` or `max_lr` of a group.
        """
        if self.optimizer is None:
            return 1.0
        group = self.optimizer.param_groups[0]
        top = max(float(group.get(name, 0)) for name in ("initial_lr", "max_lr"))
        now = float(group.get("lr", 0))
        return max(1.0, top / now) if now > 0 else 1.0

    def held(self) -> dict[int, torch.Tensor]:
        """Tensors that the optimizer changes, by identity."""
        groups = [] if self.optimizer is None else self.optimizer.param_groups
        return {id(weight): weight for group in groups for weight in group["params"]}


@dataclass(frozen=True, slots=True)
class Fit:
    """Some updates on one batch at `factor` times the learning rate, then undone.

    `losses[i]` is the loss before update i, all with the same random numbers.
    `between` is how much outputs of different rows differ in the end.
    """

    factor: float
    losses: tuple[float, ...]
    between: float = math.nan

    @property
    def start(self) -> float:
        """The loss before any update."""
        return self.losses[0]

    @property
    def end(self) -> float:
        """The median of the last five losses; infinite if one is not finite."""
        tail = sorted(self.losses[-5:])
        return tail[len(tail) // 2] if self.finite else math.inf

    @property
    def finite(self) -> bool:
        """Whether all losses were finite numbers."""
        return all(map(math.isfinite, self.losses))

    @property
    def fall(self) -> float:
        """The share of the first loss that is gone in the end."""
        return (self.start - self.end) / max(abs(self.start), 1e-12)


@dataclass(frozen=True, slots=True)
class Line:
    """The loss along the first update: `losses[i]` at `factors[i]` times its length.

    `critical` is the smallest factor at which the loss is above where it started:
    two over the sharpness along the update. Infinite if none of the factors is.
    """

    factors: tuple[float, ...]
    losses: tuple[float, ...]
    critical: float
    best: float


@dataclass(frozen=True, slots=True)
class Gradient:
    """The gradient of one parameter: its norm, largest magnitude, share of zeros."""

    norm: float
    absmax: float
    size: int
    finite: bool
    zeros: float = 0.0

    @property
    def rms(self) -> float:
        """Root of the mean square of its elements."""
        return self.norm / math.sqrt(max(self.size, 1))


@dataclass(frozen=True, slots=True)
class Trial:
    """Everything that was measured; NaN and None where it could not be."""

    subject: Subject
    names: Mapping[int, str]
    """Parameter names of the model by identity of the tensor."""
    loss: float
    repeated: float
    """The loss of the same batch with the same random numbers."""
    wiring: Wiring
    calls: tuple[LossCall, ...] = ()
    output: torch.Tensor | None = None
    layers: tuple[Layer, ...] = ()
    gradients: Mapping[str, Gradient | None] = field(
        default_factory=dict[str, "Gradient | None"]
    )
    elsewhere: frozenset[str] = frozenset()
    """Weights that another optimizer of this process holds."""
    alike: tuple[str, ...] = ()
    """Weights whose units are equal, and whose units' gradients are equal too."""
    update_ratio: Mapping[str, float] = field(default_factory=dict[str, float])
    """Norm of the first update over the norm of the weights."""
    line: Line | None = None
    fits: tuple[Fit, ...] = ()
    skipped: tuple[str, ...] = ()
    """Plain sentences: what was not tried, and why."""

    @property
    def fit(self) -> Fit | None:
        """The fit at the learning rate as it is."""
        return next((one for one in self.fits if one.factor == 1), None)
