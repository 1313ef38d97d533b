"""Weights from before and after an update come in, its size beside theirs goes out."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from surefoot.gradients.norms import norm_row, weights_of
from surefoot.restore.hooks import Hooked

TIMES = 10.0
"""Times the median ratio that makes a layer stand out. A pointer, not an alarm: layers
of sound nets differ as well under plain SGD (You et al. 2017, arXiv:1708.03888, table
1, found weight-to-gradient ratios from 6 to 1,345 in one)."""


def update_ratio(before: Sequence[Tensor], after: Sequence[Tensor]) -> Tensor:
    """‖after − before‖/‖before‖ of each tensor, `[tensors]`, float32.

    About 1e-3 is usual. Infinite for a weight that was zero and moved, 0 for one that
    did not move.

    >>> update_ratio([torch.tensor([3.0, 4.0])], [torch.tensor([2.7, 3.6])])
    tensor([0.1000])

    Raises:
        ValueError: not as many came as there were before, or none.
    """
    if len(before) != len(after) or not before:
        raise ValueError(
            f"{len(before)} tensors from before and {len(after)} from after an update "
            "came; expected as many, 1 or more"
        )
    pairs = zip(before, after, strict=True)
    changes = [new.detach() - old.detach() for old, new in pairs]
    found = relative_norms(changes, before)
    return torch.where(found.isnan(), 0.0, found)


def relative_norms(changes: Sequence[Tensor], weights: Sequence[Tensor]) -> Tensor:
    """‖change‖/‖weight‖ of each, `[tensors]`, float32; NaN where both are zero."""
    moved = norm_row([change.detach() for change in changes])
    return moved / norm_row([weight.detach() for weight in weights])


@dataclass(frozen=True, slots=True)
class Dominant:
    """A layer whose update is out of proportion: `times` the median of all layers."""

    layer: str
    ratio: float
    times: float

    def __str__(self) -> str:
        return (
            f"{self.layer} dominates: its update is {self.ratio:.2g} of its weights, "
            f"{self.times:.3g} times the median layer's"
        )


def dominant_layers(
    ratios: Mapping[str, float], times: float = TIMES
) -> tuple[Dominant, ...]:
    """Layers whose update ratio is many times the median, the largest first.

    Weights that were zero, whose ratio is infinite, and those that did not move are
    left out. Fewer than three layers have no median to stand out from.

    >>> print(*dominant_layers({"a": 1e-3, "b": 1e-3, "head": 0.05}))
    head dominates: its update is 0.05 of its weights, 50 times the median layer's

    Raises:
        ValueError: `times` is not above 1.
    """
    if not times > 1:
        raise ValueError(f"times={times!r} came; expected a factor above 1")
    known = {n: r for n, r in ratios.items() if math.isfinite(r) and r > 0}
    if len(known) < 3:
        return ()
    middle = median(known.values())
    found = [Dominant(n, r, r / middle) for n, r in known.items() if r > times * middle]
    return tuple(sorted(found, key=lambda one: -one.ratio))


class UpdateRatios(Hooked):
    """Measures the update ratio of each parameter at an optimizer's updates.

    Copies the weights before each `every`-th update, which costs their memory, and
    compares them after it. Use it in a `with` block, or end it by `remove()`.

    Args:
        model: whose parameters give the names.
        optimizer: whose updates are measured.
        every: measure each `every`-th update.

    Attributes:
        latest: ratios of the last one that was measured, on the device, `[names]`.
        names: of the parameters that the optimizer holds.

    >>> model = nn.Linear(2, 1, bias=False)
    >>> sgd = torch.optim.SGD(model.parameters(), lr=0.1)
    >>> with UpdateRatios(model, sgd) as ratios:
    ...     model.weight.grad = model.weight.detach().clone()
    ...     sgd.step()
    >>> {name: round(ratio, 4) for name, ratio in ratios.by_name().items()}
    {'weight': 0.1}

    Raises:
        ValueError: the optimizer holds no parameter of the model, or `every` is less
            than 1.
    """

    def __init__(
        self, model: nn.Module, optimizer: Optimizer, *, every: int = 1
    ) -> None:
        held = {id(weight) for weight in weights_of(optimizer)}
        named = [(n, w) for n, w in model.named_parameters() if id(w) in held]
        if not named or every < 1:
            raise ValueError(
                f"{len(named)} parameters of {type(model).__name__} are held by the "
                f"optimizer, and every={every!r}; expected 1 or more of both"
            )
        self.names = tuple(name for name, _ in named)
        self.latest: Tensor | None = None
        self.every, self.step = every, 0
        self._weights = [weight for _, weight in named]
        self._before: list[Tensor] = []
        super().__init__(
            (
                optimizer.register_step_pre_hook(self._take),
                optimizer.register_step_post_hook(self._compare),
            )
        )

    def by_name(self) -> dict[str, float]:
        """The last ratios by name, read from the device; empty before the first."""
        values: Iterable[float] = [] if self.latest is None else self.latest.tolist()
        return dict(zip(self.names, values, strict=False))

    def dominant(self, times: float = TIMES) -> tuple[Dominant, ...]:
        """Layers that stand out in the last measured update."""
        return dominant_layers(self.by_name(), times)

    def _take(self, *_: Any) -> None:
        self.step += 1
        if self.step % self.every == 0:
            self._before = [weight.detach().clone() for weight in self._weights]

    def _compare(self, *_: Any) -> None:
        if self._before:
            self.latest = update_ratio(self._before, self._weights)
            self._before = []
