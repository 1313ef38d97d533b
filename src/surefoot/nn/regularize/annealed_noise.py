"""An optimizer comes in; its gradients or weights get noise that fades with the step.

σ_t² = η/(1+t)^γ, γ = 0.55, on gradients: Neelakantan et al. 2015 (arXiv:1511.06807),
who tried η of 0.01, 0.3 and 1. What is drawn depends on the seed and the step alone:
the run's own random streams are not touched, a resumed run draws what it would have
drawn, and all replicas draw the same.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from surefoot.nn.regularize.errors import RegularizeError
from surefoot.restore.hooks import Hooked
from surefoot.schedules.inverse_power import InversePower
from surefoot.schedules.post_step import after_step
from surefoot.schedules.scheduled import Scheduled, value_at
from surefoot.types import Event


def annealed_std(eta: float = 0.3, *, gamma: float = 0.55) -> InversePower:
    """The standard deviation √(η/(1+t)^γ) as a schedule.

    >>> round(annealed_std(1.0)(99) ** 2, 4)
    0.0794

    Raises:
        RegularizeError: η or γ is negative.
    """
    if not (eta >= 0 and gamma >= 0):
        raise RegularizeError(f"eta={eta}, gamma={gamma} came; expected 0 or more")
    return InversePower(math.sqrt(eta), exponent=gamma / 2)


@torch.no_grad()
def add_noise_(
    tensors: Iterable[Tensor], std: float | Tensor, *, seed: int, step: int = 0
) -> None:
    """Add Gaussian noise, in place, that depends on seed and step alone.

    Raises:
        RegularizeError: a tensor is sharded: each process would have to draw its own
            part of what the whole would get.
    """
    streams: dict[torch.device, torch.Generator] = {}
    held = list(tensors)
    if any(hasattr(one, "device_mesh") for one in held):
        raise RegularizeError(
            "a sharded tensor (DTensor) came; expected whole ones, as each process "
            "would have to draw its own part of the same noise"
        )
    for one in held:
        if one.device not in streams:
            mixed = hash((seed, step)) % 2**63
            streams[one.device] = torch.Generator(one.device).manual_seed(mixed)
        drawn = torch.randn(
            one.shape,
            dtype=one.dtype,
            device=one.device,
            generator=streams[one.device],
        )
        one.add_(drawn * std)


class WeightNoise:
    """A post-step action: after each update, noise is added to the weights, and stays.

    Args:
        parameters: what gets noise.
        std: standard deviation; may vary with the step.
        seed: of what is drawn.

    >>> from surefoot.schedules import after_step
    >>> weight = torch.nn.Parameter(torch.zeros(2))
    >>> sgd = torch.optim.SGD([weight], lr=0.1)
    >>> handle = after_step(sgd, WeightNoise([weight], annealed_std(0.01)))
    """

    def __init__(
        self,
        parameters: Iterable[Tensor],
        std: float | Scheduled,
        *,
        seed: int = 0,
    ) -> None:
        self.parameters = tuple(parameters)
        self.std = std
        self.seed = seed

    def __call__(self, step: int) -> Mapping[str, float]:
        """Add the noise of update number `step`, σ at step - 1 as updates count."""
        std = value_at(self.std, step - 1)
        add_noise_(self.parameters, std, seed=self.seed, step=step - 1)
        return {"std": std}


class GradientNoise(Hooked):
    """Noise on the gradients, added just before each update of an optimizer.

    The updates are counted in the optimizer's state dict, so that a resumed run goes
    on with the same draws. Behind a gradient scaler the noise is that of gradients in
    their true scale. Clip first, if you clip: noise that is added before is clipped
    with them. Optimizers that compute gradients inside of `step` by a closure, such as
    LBFGS, get none. `remove()` or a `with` block ends it.

    Args:
        optimizer: whose gradients get noise.
        std: standard deviation; may vary with the step: `annealed_std(0.3)`.
        seed: of what is drawn.
        name: under which the count is saved.
        tell: who hears of each log line, such as `run.event`.

    >>> weight = torch.nn.Parameter(torch.zeros(2))
    >>> sgd = torch.optim.SGD([weight], lr=1.0)
    >>> noise = GradientNoise(sgd, 0.1)
    >>> weight.grad = torch.zeros(2)
    >>> sgd.step()
    >>> bool((weight != 0).all())
    True
    """

    def __init__(
        self,
        optimizer: Optimizer,
        std: float | Scheduled,
        *,
        seed: int = 0,
        name: str = "gradient_noise",
        tell: Callable[[Event], None] | None = None,
    ) -> None:
        self.std = std
        self.seed = seed
        self.step = 0
        self.updates = after_step(optimizer, self._count(), name=name, tell=tell)
        super().__init__((optimizer.register_step_pre_hook(self._before),))

    def remove(self) -> None:
        """Add no more noise."""
        super().remove()
        self.updates.remove()

    def _before(self, optimizer: Any, *_: Any) -> None:
        std: float | Tensor = value_at(self.std, self.step)
        scale = getattr(optimizer, "grad_scale", None)
        # A fused optimizer sees gradients that are still multiplied by the scale.
        told = std if scale is None else std * scale
        add_noise_(_gradients(optimizer), told, seed=self.seed, step=self.step)

    def _count(self) -> _Count:
        return _Count(self)


class _Count:
    """The post-step action that tells the noise how many updates there were."""

    def __init__(self, noise: GradientNoise) -> None:
        self.noise = noise

    def begin(self, step: int) -> None:
        """Go on from a step."""
        self.noise.step = step

    def __call__(self, step: int) -> Mapping[str, float]:
        """Note the step; say the σ that its gradients had."""
        self.noise.step = step
        return {"std": value_at(self.noise.std, step - 1)}


def _gradients(optimizer: Optimizer) -> Iterator[Tensor]:
    for group in optimizer.param_groups:
        for weight in group["params"]:
            if weight.grad is not None:
                yield weight.grad
