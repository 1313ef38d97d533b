"""How strongly each layer curves or pulls comes in, a rate for each layer goes out."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from surefoot.schedules.errors import ScheduleError
from surefoot.schedules.scheduled import Scheduled, value_at


def curvature_rates(
    curvatures: Sequence[float], *, share: float = 1.0, most: float
) -> list[float]:
    """The rate share/λ for a layer whose largest curvature is λ, and at most `most`.

    Gradient descent on a quadratic is stable below 2/λ and fastest at 1/λ; in one layer
    alone, with the others held. A layer without positive curvature gets `most`, as
    nothing else limits it.

    Args:
        curvatures: of each layer, such as its largest eigenvalue.
        share: of 1/λ; below 2, and the lower the more the layers act on each other.
        most: the cap.

    >>> curvature_rates([100.0, 1.0, -0.5], most=0.5)
    [0.01, 0.5, 0.5]

    Raises:
        ScheduleError: a share or cap that is not positive, or a curvature that is not
            finite.
    """
    _check_positive(share=share, most=most)
    if not all(map(math.isfinite, curvatures)):
        raise ScheduleError(f"curvatures {list(curvatures)} came; expected finite ones")
    return [
        min(most, share / one) if one > share / most else most for one in curvatures
    ]


def norm_rates(
    weights: Sequence[float],
    gradients: Sequence[float],
    *,
    share: float = 0.001,
    most: float,
) -> list[float]:
    """The rate share·‖w‖/‖g‖ of each layer, and at most `most`.

    With plain descent each layer then moves by `share` of its size (You et al. 2017,
    arXiv 1708.03888, LARS with η = 0.001). A layer whose gradient or weight is 0 gets
    `most`.

    Args:
        weights: the norm of each layer's weights.
        gradients: the norm of each layer's gradient.
        share: of its size by which a layer moves.
        most: the cap.

    >>> norm_rates([1.0, 1.0], [0.1, 10.0], share=0.01, most=0.05)
    [0.05, 0.001]

    Raises:
        ScheduleError: a share or cap that is not positive, other lengths, or a norm
            that is negative or not finite.
    """
    _check_positive(share=share, most=most)
    if len(weights) != len(gradients):
        raise ScheduleError(
            f"{len(weights)} norms of weights and {len(gradients)} of gradients came; "
            "expected one of each for each layer"
        )
    if not all(math.isfinite(one) and one >= 0 for one in (*weights, *gradients)):
        raise ScheduleError("a norm is negative or not finite; expected 0 or more")
    pairs = zip(weights, gradients, strict=True)
    return [
        min(most, share * size / pull) if size * pull > 0 else most
        for size, pull in pairs
    ]


def group_norms(optimizer: Optimizer) -> tuple[list[float], list[float]]:
    """The norms of weights and of gradients of each parameter group, for `norm_rates`.

    One copy from the device for all of them.
    """
    rows = [
        _norm([w.detach() for w in group["params"]]) for group in optimizer.param_groups
    ]
    rows += [
        _norm([w.grad for w in group["params"] if w.grad is not None])
        for group in optimizer.param_groups
    ]
    numbers: list[float] = torch.stack([row.cpu() for row in rows]).tolist()
    count = len(optimizer.param_groups)
    return numbers[:count], numbers[count:]


class LayerRates:
    """A post-step action: each parameter group follows a rate that is measured.

    Use the groups of `layerwise_lr` or your own. What is measured is noisy: register
    with `every=`, average with `keep`, and cap the rates in the measurement. It sets
    the groups' `lr` itself: give a schedule here, not to a torch scheduler beside it.

    Args:
        optimizer: whose groups.
        measure: gives a rate for each group; `curvature_rates` or `norm_rates` of what
            you measure.
        schedule: a factor on all rates.
        keep: how much of the last rates is kept, geometrically: 0 for none.

    >>> weights = [torch.nn.Parameter(torch.ones(1)) for _ in range(2)]
    >>> sgd = torch.optim.SGD([{"params": [w]} for w in weights], lr=0.1)
    >>> from surefoot.schedules import after_step
    >>> rates = LayerRates(sgd, lambda: curvature_rates([100.0, 1.0], most=0.5))
    >>> _ = after_step(sgd, rates, every=1)
    >>> sgd.step()
    >>> [group["lr"] for group in sgd.param_groups]
    [0.01, 0.5]

    Raises:
        ScheduleError: `keep` is not in [0, 1), or at a step the measurement has another
            number of rates, or one that is negative or not finite; no rate is set then.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        measure: Callable[[], Sequence[float]],
        *,
        schedule: float | Scheduled = 1.0,
        keep: float = 0.0,
    ) -> None:
        if not 0 <= keep < 1:
            raise ScheduleError(f"keep={keep!r} came; expected a number in [0, 1)")
        self.measure = measure
        self.schedule = schedule
        self.keep = keep
        self.rates: list[float] = []
        self._optimizer = optimizer

    def begin(self, step: int) -> None:
        """Set what was measured before, where a run is resumed."""
        if self.rates:
            self._set(step)

    def __call__(self, step: int) -> Mapping[str, Any]:
        """Measure, and set the rates for the next update."""
        new = list(self.measure())
        groups = self._optimizer.param_groups
        if len(new) != len(groups) or not all(
            math.isfinite(rate) and rate >= 0 for rate in new
        ):
            raise ScheduleError(
                f"at step {step} the measurement gave {new}; expected {len(groups)} "
                "rates of 0 or more, one for each parameter group"
            )
        old = self.rates or new
        self.rates = [_mixed(*pair, self.keep) for pair in zip(old, new, strict=True)]
        self._set(step)
        return {"rates": list(self.rates)}

    def state_dict(self) -> dict[str, Any]:
        """The rates, without the schedule's factor."""
        return {"rates": list(self.rates)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take them back."""
        self.rates = [float(rate) for rate in state["rates"]]

    def _set(self, step: int) -> None:
        factor = value_at(self.schedule, step)
        groups = self._optimizer.param_groups
        for group, rate in zip(groups, self.rates, strict=True):
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(rate * factor)
            else:
                group["lr"] = rate * factor


def _mixed(old: float, new: float, keep: float) -> float:
    """A geometric mean, as rates matter by their ratios; of 0, none."""
    return old**keep * new ** (1 - keep) if old > 0 and new > 0 else new


def _norm(tensors: Sequence[Tensor]) -> Tensor:
    if not tensors:
        return torch.zeros(())
    return torch.nn.utils.get_total_norm([one.float() for one in tensors])


def _check_positive(**numbers: float) -> None:
    for name, number in numbers.items():
        if not (math.isfinite(number) and number > 0):
            raise ScheduleError(f"{name}={number!r} came; expected a number above 0")
