"""Actions on the gradients of an update: they come in, an undo goes out.

An optimizer with a closure computes the gradients inside its step: there the closure
is followed by the action, so that both kinds of loops are changed alike.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.optim import Optimizer

from surefoot.autopilot.live import KnobError
from surefoot.schedules.stepping import steps_of

Act = Callable[[Optimizer], None]


def before_steps(optimizers: Sequence[Optimizer], act: Act) -> Callable[[], None]:
    """Act on each optimizer whenever its gradients are ready; undo goes out.

    Raises:
        KnobError: an optimizer asks for its gradients several times in one step.
    """
    for optimizer in optimizers:
        if isinstance(optimizer, torch.optim.LBFGS):
            raise KnobError(
                "a change to the gradients came for LBFGS; expected an optimizer that "
                "computes them once a step; act in the closure, after backward()"
            )

    def hook(optimizer: Any, args: Any, kwargs: Any) -> Any:
        given = (*args[1:], kwargs.get("closure"))
        if given[0] is None:
            act(optimizer)
            return None
        closure: Callable[[], Any] = given[0]

        def followed() -> Any:
            loss = closure()
            act(optimizer)
            return loss

        rest = {key: value for key, value in kwargs.items() if key != "closure"}
        return (args[0], followed, *args[2:]), rest

    undos = [steps_of(optimizer).add(hook) for optimizer in optimizers]

    def undo() -> None:
        for one in undos:
            one()

    return undo
