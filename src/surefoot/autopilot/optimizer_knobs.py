"""Changes to the settings of optimizers, lent during their steps; each has an undo."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from surefoot.autopilot.live import Applied, KnobError, Live, number_of
from surefoot.schedules.lending import lend
from surefoot.types import Change


def scale_lr(live: Live, change: Change) -> Applied:
    """Multiply the learning rate of every step, whatever schedule sets it."""
    factor = number_of(change)
    undo = lend(live.optimizers, lambda group, step: {"lr": group["lr"] * factor})
    return Applied("lr × 1", f"lr × {factor:g}", undo)


def warm_up(live: Live, change: Change) -> Applied:
    """Raise the learning rate linearly from nothing over the coming steps.

    In the midst of a run it is a second warm-up, to the rate of the schedule.
    """
    steps = number_of(change)

    def edit(group: dict[str, Any], step: int) -> dict[str, Any]:
        return {"lr": group["lr"] * min(1.0, (step + 1) / steps)} if steps else {}

    after = f"warm-up over {steps:g} steps"
    return Applied("no warm-up", after, lend(live.optimizers, edit))


def set_option(live: Live, change: Change) -> Applied:
    """Set an option of every parameter group that has it, during its steps."""
    value = number_of(change)

    def new(old: float) -> float:
        return value

    return _optional(live, change, new)


def scale_option(live: Live, change: Change) -> Applied:
    """Multiply an option of every parameter group that has it, during its steps."""
    factor = number_of(change)

    def new(old: float) -> float:
        return old * factor

    return _optional(live, change, new)


def _optional(live: Live, change: Change, new: Callable[[float], float]) -> Applied:
    """Give an option, or one place of it, another value.

    Raises:
        KnobError: no optimizer has the option.
    """
    key, _, place = change.knob.partition(".")

    def value_of(group: dict[str, Any]) -> Any:
        if not place:
            return new(group[key])
        at, values = int(place), group[key]
        return (*values[:at], new(values[at]), *values[at + 1 :])

    groups = [g for o in live.optimizers for g in o.param_groups if key in g]
    if not groups:
        kinds = ", ".join(type(o).__name__ for o in live.optimizers)
        raise KnobError(
            f"the change {change.knob} {change.op} {change.amount} came for "
            f"{kinds or 'no optimizer'}; expected an optimizer with the option "
            f"{key!r}; choose another remedy"
        )

    def edit(group: dict[str, Any], step: int) -> dict[str, Any]:
        return {key: value_of(group)} if key in group else {}

    undo = lend(live.optimizers, edit)
    first = groups[0]
    return Applied(f"{key} = {first[key]}", f"{key} = {value_of(first)}", undo)
