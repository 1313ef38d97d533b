"""Changes to what optimizers remember of past gradients, each with its undo."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from surefoot.autopilot.live import (
    Applied,
    KnobError,
    Live,
    modules_of,
    number_of,
    word_of,
)
from surefoot.gradients.norms import weights_of
from surefoot.types import Change

FIRST, SECOND = "exp_avg", "exp_avg_sq"


def reset_moments(live: Live, change: Change) -> Applied:
    """Let optimizers forget: they go on as at their first step, with these weights.

    Both moments and the count of steps go together: a second moment of zero with the
    old count would make the next update 1/√(1 − β₂) times as large, about 32.

    Raises:
        KnobError: the amount is not "all", or there is nothing to forget.
    """
    word_of(change, ("all",))
    held = [(o, w) for o, w in _held(live, change) if o.state.get(w)]
    _expect(held, change, "an optimizer that has made a step and remembers it")
    undos = [forget(optimizer, weight) for optimizer, weight in held]

    def undo() -> None:
        while undos:
            undos.pop()()

    before = f"moments of {len(held)} parameters"
    return Applied(before, "no moments, step 0", undo)


def forget(optimizer: Optimizer, weight: Tensor) -> Callable[[], None]:
    """Drop what an optimizer remembers of a parameter; undo goes out."""
    state = optimizer.state
    if weight not in state:
        return lambda: None
    old = state.pop(weight)
    if isinstance(optimizer, torch.optim.Adagrad):
        # It makes its state when it is made itself, and expects to find it.
        start = float(optimizer.defaults["initial_accumulator_value"])
        state[weight] = {
            "step": torch.zeros_like(old["step"]),
            "sum": torch.full_like(old["sum"], start),
        }

    def undo() -> None:
        state[weight] = old

    return undo


def shorten_moments(live: Live, change: Change) -> Applied:
    """Let Adam's averages count for as many steps as the amount says, and no more.

    They keep their value, corrected for bias, but weigh what `amount` steps weigh, so
    that what comes next moves them as soon: an early overshoot is forgotten in about
    as many steps, not in 1/(1 − β₂) of them.

    Raises:
        KnobError: the amount is below one, or no optimizer has such averages.
    """
    steps = number_of(change, above=True)
    held = [
        (optimizer.state[weight], group["betas"])
        for optimizer, weight in _held(live, change)
        for group in optimizer.param_groups
        if SECOND in optimizer.state.get(weight, {})
        and any(one is weight for one in group["params"])
    ]
    _expect(held, change, "an optimizer such as Adam that has made a step")
    if steps < 1:
        raise KnobError(
            f"the change moments shorten {steps:g} came; expected 1 step or more"
        )
    undos = [_shorten(state, betas, steps) for state, betas in held]

    def undo() -> None:
        while undos:
            undos.pop()()

    before = f"moments after {float(held[0][0]['step']):g} steps"
    return Applied(before, f"moments worth {steps:g} steps", undo)


@torch.no_grad()
def _shorten(
    state: dict[str, Any], betas: tuple[float, float], steps: float
) -> Callable[[], None]:
    """Scale both averages so that they are right for an earlier step."""
    done: Tensor = state["step"]
    if float(done) <= steps:
        return lambda: None
    kept = {k: v.clone() for k, v in state.items() if isinstance(v, Tensor)}
    for key, beta in (
        (FIRST, betas[0]),
        (SECOND, betas[1]),
        ("max_exp_avg_sq", betas[1]),
    ):
        if key in state:
            state[key].mul_((1 - beta**steps) / (1 - beta ** float(done)))
    done.fill_(steps)

    @torch.no_grad()
    def undo() -> None:
        for key, value in kept.items():
            state[key].copy_(value)

    return undo


def _held(live: Live, change: Change) -> list[tuple[Optimizer, Tensor]]:
    """The parameters among the layers, each with the optimizer that holds it."""
    wanted = _wanted(live, change)
    return [
        (optimizer, weight)
        for optimizer in live.optimizers
        for weight in weights_of(optimizer)
        if wanted is None or id(weight) in wanted
    ]


def _wanted(live: Live, change: Change) -> set[int] | None:
    """The parameters of the layers; None for all."""
    if not change.layers:
        return None
    modules: Iterable[nn.Module] = modules_of(live, change.layers).values()
    return {id(p) for module in modules for p in module.parameters()}


def _expect(held: list[Any], change: Change, what: str) -> None:
    if not held:
        raise KnobError(
            f"the change {change.knob} {change.op} came where there is nothing to "
            f"change; expected {what}"
        )
