"""A schedule and an optimizer come in; an option of its groups follows the schedule."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Real
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from surefoot.schedules.errors import ScheduleError
from surefoot.schedules.scheduled import Scheduled


class VaryOption:
    """A post-step action: an option of all parameter groups follows a schedule.

    For weight decay, momentum and their kin. The learning rate is for `ScheduledLR`,
    which torch's trainers know.

    Args:
        optimizer: whose option varies.
        option: the name in its groups; "betas.0" is the first of several numbers.
        schedule: the value before each update; with `relative` a factor on each
            group's value of now.
        relative: whether groups keep their ratios.

    >>> import torch
    >>> from surefoot.schedules import Linear, after_step
    >>> sgd = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], weight_decay=0.1)
    >>> decay = VaryOption(sgd, "weight_decay", schedule=Linear(0.0, 1.0, steps=4))
    >>> _ = after_step(sgd, decay)
    >>> for _ in range(2):
    ...     sgd.step()
    >>> sgd.param_groups[0]["weight_decay"]
    0.05

    Raises:
        ScheduleError: a group has no such option, or it is no number.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        option: str,
        *,
        schedule: Scheduled,
        relative: bool = True,
    ) -> None:
        self.option = option
        self.schedule = schedule
        self.relative = relative
        self._optimizer = optimizer
        self._key, _, place = option.partition(".")
        self._place = int(place) if place.isdigit() else None
        self._starts = [self._held(group) for group in optimizer.param_groups]

    def begin(self, step: int) -> None:
        """Set the option for the update after `step` others."""
        value = self.schedule(step)
        starts = self._starts
        for group, start in zip(self._optimizer.param_groups, starts, strict=True):
            self._set(group, start * value if self.relative else value)

    def __call__(self, step: int) -> Mapping[str, float]:
        """Set the option for the next update, and say the schedule's value."""
        self.begin(step)
        return {self.option: self.schedule(step)}

    def state_dict(self) -> dict[str, Any]:
        """The values that factors are of."""
        return {"starts": list(self._starts)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take them back."""
        if len(state["starts"]) != len(self._optimizer.param_groups):
            raise ScheduleError(
                f"a state of {len(state['starts'])} parameter groups came; expected "
                f"{len(self._optimizer.param_groups)}"
            )
        self._starts = [float(start) for start in state["starts"]]

    def _held(self, group: Mapping[str, Any]) -> float:
        value = group.get(self._key)
        if self._place is not None and isinstance(value, tuple | list):
            value = value[self._place] if self._place < len(value) else None
        if isinstance(value, bool) or not isinstance(value, Real | Tensor):
            kind = type(self._optimizer).__name__
            numbers = sorted(k for k, v in group.items() if isinstance(v, float))
            raise ScheduleError(
                f"{self.option!r} is {value!r} in a group of {kind}; expected a number "
                f"that can vary, such as {', '.join(numbers)}"
            )
        return float(value)

    def _set(self, group: dict[str, Any], value: float) -> None:
        held = group[self._key]
        if self._place is not None:
            group[self._key] = (*held[: self._place], value, *held[self._place + 1 :])
        elif isinstance(held, Tensor):
            held.fill_(value)
        else:
            group[self._key] = value
