"""Real optimizers on functions of two parameters: starts in, the paths they went out.

What is drawn is what the optimizer did: the paths are read from the parameter that
torch's optimizer wrote, by its own hook after each step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch.optim import Optimizer

from surefoot.landscape.functions import Doubles, Function2D

Factory = Callable[[list[torch.nn.Parameter]], Optimizer]
"""Makes an optimizer of the parameters it is given, as `torch.optim.Adam` does."""

OPTIMIZERS: Mapping[str, Factory] = MappingProxyType(
    {
        "SGD": partial(torch.optim.SGD, lr=0.05),
        "Momentum": partial(torch.optim.SGD, lr=0.05, momentum=0.9),
        "Nesterov": partial(torch.optim.SGD, lr=0.05, momentum=0.9, nesterov=True),
        "RMSprop": partial(torch.optim.RMSprop, lr=0.05),
        "Adam": partial(torch.optim.Adam, lr=0.1),
        "AdamW": partial(torch.optim.AdamW, lr=0.1),
    }
)
"""What is compared where nothing else is asked for, with rates that suit functions
whose curvature is about one."""


@dataclass(frozen=True, slots=True, eq=False)
class Descent:
    """Where one optimizer went from one start.

    Attributes:
        optimizer: its name.
        points: float64, shape [steps + 1, 2], the start first.
        losses: float64, shape [steps + 1].
        diverged: whether it left the numbers; only finite points are kept.
    """

    optimizer: str
    points: Doubles
    losses: Doubles
    diverged: bool = False

    @property
    def start(self) -> tuple[float, float]:
        """Its first point."""
        return float(self.points[0, 0]), float(self.points[0, 1])

    @property
    def end(self) -> tuple[float, float]:
        """Its last point."""
        return float(self.points[-1, 0]), float(self.points[-1, 1])

    @property
    def steps(self) -> int:
        """How many steps it made."""
        return len(self.points) - 1


def descend(
    function: Function2D,
    optimizer: Factory,
    *,
    start: Sequence[float],
    steps: int = 100,
    noise: float = 0.0,
    name: str = "",
) -> Descent:
    """Let an optimizer descend.

    Args:
        function: what is minimised.
        optimizer: makes any optimizer of torch of a list of parameters; the one
            parameter has shape [2] and is float64.
        start: `(x, y)`.
        steps: of the optimizer.
        noise: standard deviation of what is added to each coordinate of the gradient,
            as mini-batches do; the same for every optimizer and start.
        name: for the legend; the class of the optimizer by default.

    Raises:
        ValueError: the start is no point, or steps or noise are below zero.

    >>> from surefoot.landscape.functions import BOWL
    >>> sgd = partial(torch.optim.SGD, lr=0.5)
    >>> descend(BOWL, sgd, start=(1.0, 0.0), steps=3).points[:, 0]
    array([1.   , 0.5  , 0.25 , 0.125])
    """
    _check(start, steps, noise)
    weight = torch.nn.Parameter(torch.tensor(start, dtype=torch.float64))
    made = optimizer([weight])
    path = [weight.detach().clone()]

    def written(optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        path.append(weight.detach().clone())

    handle = made.register_step_post_hook(written)
    stream = torch.Generator().manual_seed(0)
    for _ in range(steps):
        with torch.enable_grad():
            made.step(_closure(function, weight, noise * _normal(stream)))
        if not torch.isfinite(path[-1]).all():
            break
    handle.remove()
    return _descent(name or type(made).__name__, function, path)


def _check(start: Sequence[float], steps: int, noise: float) -> None:
    if len(start) != 2 or not np.isfinite(start).all():
        raise ValueError(f"a start is two finite numbers; {tuple(start)} came")
    if steps < 0 or noise < 0:
        raise ValueError(
            f"steps and noise cannot be below zero; {steps} and {noise} came"
        )


def _normal(stream: torch.Generator) -> torch.Tensor:
    return torch.randn(2, generator=stream, dtype=torch.float64)


def _closure(
    function: Function2D, weight: torch.nn.Parameter, noise: torch.Tensor
) -> Callable[[], float]:
    """What optimizers call to evaluate; one step may call it several times."""

    def evaluated() -> float:
        loss = function.value(weight)
        weight.grad = torch.autograd.grad(loss, weight)[0] + noise
        return float(loss.detach())

    return evaluated


def _descent(name: str, function: Function2D, path: list[torch.Tensor]) -> Descent:
    points = torch.stack(path)
    losses = function.value(points)
    finite = torch.isfinite(points).all(1) & torch.isfinite(losses)
    kept = int(finite.long().cumprod(0).sum())
    return Descent(
        optimizer=name,
        points=points[:kept].numpy(),
        losses=losses[:kept].detach().numpy(),
        diverged=kept < len(points),
    )


def race(
    function: Function2D,
    optimizers: Mapping[str, Factory] = OPTIMIZERS,
    *,
    starts: Iterable[Sequence[float]] = (),
    steps: int = 100,
    noise: float = 0.0,
) -> tuple[Descent, ...]:
    """Let several optimizers descend from several starts.

    Args:
        function: what is minimised.
        optimizers: names for the legend, and what makes each.
        starts: `(x, y)` each; those of the function by default.
        steps: of each.
        noise: as of `descend`.

    Returns:
        One for each pair, all starts of the first optimizer first.

    >>> from surefoot.landscape.functions import BOWL
    >>> [one.optimizer for one in race(BOWL, starts=[(1.0, 1.0)], steps=5)][:3]
    ['SGD', 'Momentum', 'Nesterov']
    """
    places = tuple(starts) or function.starts
    return tuple(
        descend(function, made, start=start, steps=steps, noise=noise, name=name)
        for name, made in optimizers.items()
        for start in places
    )
