"""Changes to the update: hooks around `optimizer.step`, each with its undo."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from statistics import median
from typing import Any

from surefoot.autopilot.live import Applied, KnobError, Live
from surefoot.gradients.clipping import NormClip
from surefoot.gradients.norms import total_norm, weights_of
from surefoot.types import Change

OUTLIER_TIMES = 8.0
OUTLIER_HISTORY = 31
"""A gradient norm eight times the median of the last 31 steps: our pilot study of
policies, where it recovered poisoned batches and left healthy runs alone."""


def scale_lr(live: Live, change: Change) -> Applied:
    """Multiply the learning rate of every step, whatever schedule sets it."""
    factor = _number(change)
    undo = _while_stepping(live, lambda step: factor)
    return Applied("lr × 1", f"lr × {factor:g}", undo)


def warm_up(live: Live, change: Change) -> Applied:
    """Raise the learning rate linearly over the coming steps."""
    steps = _number(change)
    undo = _while_stepping(live, lambda step: min(1.0, (step + 1) / steps))
    return Applied("no warm-up", f"warm-up over {steps:g} steps", undo)


def clip_norm(live: Live, change: Change) -> Applied:
    """Clip the norm of the whole gradient before each update."""
    most = _number(change)

    if most == 0:
        raise KnobError(
            "the change clip_norm set came with the amount 0, at which nothing moves; "
            "expected a positive number"
        )
    undo = _before_steps(live, NormClip(most).before_step)
    return Applied("no clipping", f"clip at norm {most:g}", undo)


def set_option(live: Live, change: Change) -> Applied:
    """Set an option of every parameter group that has it."""
    value = _number(change)
    key, _, place = change.knob.partition(".")
    groups = [g for o in live.optimizers for g in o.param_groups if key in g]
    if not groups:
        kinds = ", ".join(type(o).__name__ for o in live.optimizers)
        raise KnobError(
            f"the change {change.knob} set {value:g} came for {kinds}; expected an "
            f"optimizer with the option {key!r}; choose another remedy"
        )
    before = [group[key] for group in groups]
    for group in groups:
        old = group[key]
        group[key] = _with(old, int(place), value) if place else value

    def undo() -> None:
        for group, old in zip(groups, before, strict=True):
            group[key] = old

    return Applied(f"{key} = {before[0]}", f"{key} = {groups[0][key]}", undo)


def skip_batch(live: Live, change: Change) -> Applied:
    """Skip updates whose gradient is not finite, or an outlier of the run's own."""
    if change.amount not in ("nonfinite", "outlier"):
        raise KnobError(
            f"the change batch skip {change.amount!r} came; expected 'nonfinite' or "
            "'outlier'"
        )
    history: deque[float] = deque(maxlen=OUTLIER_HISTORY)

    def skip(optimizer: Any, args: Any, kwargs: Any) -> None:
        norm = total_norm(optimizer).item()
        known = len(history) == OUTLIER_HISTORY and change.amount == "outlier"
        most = OUTLIER_TIMES * median(history) if known else math.inf
        if math.isfinite(norm) and norm <= most:
            history.append(norm)
            return
        for weight in weights_of(optimizer):
            weight.grad = None

    after = f"skip updates with a gradient that is {change.amount}"
    return Applied("no update is skipped", after, _before_steps(live, skip))


def _number(change: Change) -> float:
    """The amount as a positive finite number."""
    amount = change.amount
    if isinstance(amount, str) or not (math.isfinite(amount) and amount >= 0):
        raise KnobError(
            f"the change {change.knob} {change.op} came with the amount {amount!r}; "
            "expected a finite number that is not negative"
        )
    return float(amount)


def _with(values: tuple[float, ...], place: int, value: float) -> tuple[float, ...]:
    return (*values[:place], value, *values[place + 1 :])


def _before_steps(live: Live, hook: Any) -> Callable[[], None]:
    """Register a hook on every optimizer; undo goes out."""
    handles = [one.register_step_pre_hook(hook) for one in live.optimizers]
    return lambda: [handle.remove() for handle in handles].clear()


def _while_stepping(live: Live, factor: Callable[[int], float]) -> Callable[[], None]:
    """Scale the rate during each step only, so that schedulers never see it."""
    rates: dict[int, list[Any]] = {}
    steps: dict[int, int] = {}

    def before(optimizer: Any, args: Any, kwargs: Any) -> None:
        rates[id(optimizer)] = [group["lr"] for group in optimizer.param_groups]
        times = factor(steps.get(id(optimizer), 0))
        steps[id(optimizer)] = steps.get(id(optimizer), 0) + 1
        for group in optimizer.param_groups:
            group["lr"] = group["lr"] * times

    def after(optimizer: Any, args: Any, kwargs: Any) -> None:
        for group, rate in zip(
            optimizer.param_groups, rates[id(optimizer)], strict=True
        ):
            group["lr"] = rate

    undo_before = _before_steps(live, before)
    handles = [one.register_step_post_hook(after) for one in live.optimizers]

    def undo() -> None:
        undo_before()
        for handle in handles:
            handle.remove()

    return undo
