"""Actions around the steps of an optimizer come in, an undo for each goes out.

torch walks through the hooks of an optimizer while it steps, and stops with an error
where one is put on or taken off meanwhile. So all actions of ours share one pair of
hooks: they may come and go at any time, also from within each other.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from torch.optim import Optimizer

Action = Callable[[Optimizer, Any, Any], Any]
"""Called with the optimizer and the arguments of its step, the optimizer first among
them. What it gives before a step takes the place of these, unless it is None."""

KEY = "surefoot.steps"
"""Where an optimizer keeps its actions: `Optimizer.__getstate__` leaves it out of
copies and pickles."""


class Steps:
    """The actions around the steps of one optimizer.

    Those before a step run in the order in which they came, those after it in the
    reverse: who came last is the first to put back.
    """

    def __init__(self, optimizer: Optimizer) -> None:
        self._optimizer = optimizer
        self._actions: list[tuple[Action | None, Action | None]] = []
        self._hooks = (
            optimizer.register_step_pre_hook(self._before),
            optimizer.register_step_post_hook(self._after),
        )

    def add(
        self, before: Action | None = None, after: Action | None = None
    ) -> Callable[[], None]:
        """Act before and after each step from now on; undo ends it.

        What came before a step that is under way acts after it, and nothing else.
        """
        row = (before, after)
        self._actions.append(row)

        def undo() -> None:
            self._actions = [one for one in self._actions if one is not row]
            if not self._actions and not stepping():
                self._remove()

        return undo

    @property
    def acting(self) -> bool:
        """Whether anything is done before a step."""
        return any(before is not None for before, _ in self._actions)

    def _remove(self) -> None:
        """No action is left, so the hooks go too."""
        for hook in self._hooks:
            hook.remove()
        if self._optimizer.__dict__.get(KEY) is self:
            del self._optimizer.__dict__[KEY]

    def _before(self, optimizer: Any, args: Any, kwargs: Any) -> Any:
        given = (args, kwargs)
        for before, _ in self._actions.copy():
            new = None if before is None else before(optimizer, *given)
            given = given if new is None else new
        return given

    def _after(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        for _, after in reversed(self._actions.copy()):
            if after is not None:
                after(optimizer, args, kwargs)


def steps_of(optimizer: Optimizer) -> Steps:
    """The actions around the steps of an optimizer.

    Whoever acts on a run from inside of its steps adds an action outside of them
    first: the hooks are there then.

    >>> import torch
    >>> sgd = torch.optim.SGD([torch.zeros(1)], lr=0.1)
    >>> undo = steps_of(sgd).add(after=lambda optimizer, args, kwargs: print("stepped"))
    >>> sgd.step()
    stepped
    >>> undo()
    >>> sgd.step()
    """
    if KEY not in optimizer.__dict__:
        optimizer.__dict__[KEY] = Steps(optimizer)
    return optimizer.__dict__[KEY]


def stepping() -> bool:
    """Whether this is called from inside of an optimizer's step."""
    home, frame = inspect.getfile(Optimizer), inspect.currentframe()
    while frame is not None:
        if frame.f_code.co_filename == home:
            return True
        frame = frame.f_back
    return False
