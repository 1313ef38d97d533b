"""An optimizer and actions come in; after each of its updates the actions are applied.

Projections, caps, growth, freezing and scheduled attributes are one thing: something
done after `optimizer.step()`, with a log line. The hook is the optimizer's own, so that
any training loop, scheduler or scaler triggers it, and a step that a scaler skips does
not. How many updates there were is kept in the optimizer's state dict: a run that is
resumed goes on where it stopped.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Protocol, runtime_checkable

import torch
from torch.optim import Optimizer

from surefoot.restore.hooks import Hooked
from surefoot.schedules.errors import ScheduleError
from surefoot.schedules.scheduled import Scheduled
from surefoot.types import Event

LOG = logging.getLogger("surefoot.post_step")
KEPT = 1_000
"""Log lines that are kept in memory: those of the last thousand times it acted."""

SAVED = "post_steps"
"""The key of an optimizer's state dict."""


class PostStepAction(Protocol):
    """What is applied after an update; a function of the step will do.

    It may also define `begin(step)`, called when it is registered and when a run is
    resumed, and `state_dict()` with `load_state_dict(state)`, which the optimizer's own
    state then holds. One that adds parameters defines `make_room(state)`, called before
    the optimizer loads what it knows of them.
    """

    def __call__(self, step: int, /) -> Mapping[str, Any]:
        """Act after update number `step` (1 is the first); say what was done.

        Returns:
            JSON values for the log line; empty where there is nothing to say.
        """
        ...


@runtime_checkable
class Begins(Protocol):
    """An action that has something to do before the next update."""

    def begin(self, step: int, /) -> None:
        """Take the state it would have after `step` updates."""
        ...


@runtime_checkable
class Stateful(Protocol):
    """An action with a memory."""

    def state_dict(self) -> dict[str, Any]:
        """The memory, as tensors and JSON values."""
        ...

    def load_state_dict(self, state: Mapping[str, Any], /) -> None:
        """Take a memory back."""
        ...


@runtime_checkable
class MakesRoom(Protocol):
    """An action by which an optimizer comes to hold more parameters, as by growth."""

    def make_room(self, state: Mapping[str, Any], /) -> None:
        """Hold the parameters that a saved state is about, before it is loaded."""
        ...


class PostSteps(Hooked):
    """An action that is registered with an optimizer: its counter, log and switch.

    `step` is the number of updates seen, `log` holds the last events. It is saved in
    the optimizer's state dict below "post_steps"; `state_dict` and `load_state_dict`
    are for checkpoints that keep no optimizer. `remove()` or a `with` block ends it.
    """

    def __init__(self, optimizer: Optimizer, action: PostStepAction, name: str) -> None:
        self.action = action
        self.name = name
        self.step = 0
        self.every = 1
        self.log: deque[Event] = deque(maxlen=KEPT)
        self.tell: Callable[[Event], None] | None = None
        self._optimizer = optimizer
        self._waiting: Mapping[str, Any] | None = None
        super().__init__(
            (
                optimizer.register_step_post_hook(self._updated),
                optimizer.register_state_dict_post_hook(self._saved),
                optimizer.register_load_state_dict_pre_hook(self._seen),
                optimizer.register_load_state_dict_post_hook(self._loaded),
            )
        )
        optimizer.__dict__[SAVED] = (*_registered(optimizer), self)

    def state_dict(self) -> dict[str, Any]:
        """The counter, and the action's own state if it has one."""
        own = self.action.state_dict() if isinstance(self.action, Stateful) else {}
        return {"step": self.step, "action": own}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take both back, and let the action begin from there."""
        if isinstance(self.action, Stateful):
            self.action.load_state_dict(state["action"])
        self.step = int(state["step"])
        if isinstance(self.action, Begins):
            self.action.begin(self.step)

    def remove(self) -> None:
        """Stop acting; what was done stays done."""
        super().remove()
        others = tuple(o for o in _registered(self._optimizer) if o is not self)
        self._optimizer.__dict__[SAVED] = others

    def _updated(self, *_: Any) -> None:
        if _was_skipped(self._optimizer):
            return
        self.step += 1
        if self.step % self.every:
            return
        with torch.no_grad():
            done = self.action(self.step)
        if done:
            event = Event(self.step, "post_step", {"action": self.name, **done})
            self.log.append(event)
            LOG.debug("step %d, %s: %s", self.step, self.name, dict(done))
            if self.tell is not None:
                self.tell(event)

    def _saved(self, optimizer: Any, state: dict[str, Any]) -> None:
        state.setdefault(SAVED, {})[self.name] = self.state_dict()

    def _seen(self, optimizer: Any, state: dict[str, Any]) -> None:
        """Remember what is saved for this one; the optimizer may still refuse it."""
        self._waiting = state.get(SAVED, {}).get(self.name)
        if self._waiting is not None and isinstance(self.action, MakesRoom):
            self.action.make_room(self._waiting["action"])

    def _loaded(self, optimizer: Any) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            self.load_state_dict(waiting)


def after_step(
    optimizer: Optimizer,
    action: PostStepAction,
    *,
    every: int = 1,
    name: str = "",
    tell: Callable[[Event], None] | None = None,
) -> PostSteps:
    """Apply an action after every so many updates of an optimizer.

    Args:
        optimizer: whose updates count; skipped ones, as by a gradient scaler, do not.
        action: what to do; runs without gradients.
        every: act after each `every`-th update.
        name: what its log lines and saved state are called; the action's class if not
            given. Two on one optimizer need two names.
        tell: who else hears of each log line, such as `run.event`.

    >>> import torch
    >>> weight = torch.nn.Parameter(torch.tensor([3.0]))
    >>> sgd = torch.optim.SGD([weight], lr=0.0)
    >>> def halve(step):
    ...     return {"now": weight.mul_(0.5).item()}
    >>> handle = after_step(sgd, halve, every=2)
    >>> weight.grad = torch.zeros(1)
    >>> for _ in range(4):
    ...     sgd.step()
    >>> [(event.step, event.body["now"]) for event in handle.log]
    [(2, 1.5), (4, 0.75)]

    Raises:
        ScheduleError: `every` is no positive integer, or the name is taken.
    """
    name = name or getattr(action, "__name__", type(action).__name__)
    if isinstance(every, bool) or not isinstance(every, int) or every < 1:  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ScheduleError(
            f"every={every!r} came; expected a number of updates, 1 or more"
        )
    if name in (other.name for other in _registered(optimizer)):
        raise ScheduleError(
            f"a second action named {name!r} came for one optimizer; give it another "
            "name=, so that both can be told apart when the run is resumed"
        )
    if isinstance(action, Begins):
        action.begin(0)
    handle = PostSteps(optimizer, action, name)
    handle.every = every
    handle.tell = tell
    return handle


class Vary:
    """A post-step action: keep an attribute at a schedule's value.

    Of a module, or of anything else that is read at each step, such as the strength of
    a penalty.

    Tensors, such as the buffers of this library's modules, are filled in place, which
    compiled code reads without compiling again; numbers are set.

    >>> import torch
    >>> from surefoot.schedules import Linear
    >>> drop = torch.nn.Dropout(0.0)
    >>> sgd = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.1)
    >>> _ = after_step(sgd, Vary(drop, "p", schedule=Linear(0.0, 0.5, steps=10)))
    >>> for _ in range(4):
    ...     sgd.step()
    >>> drop.p
    0.2

    Raises:
        ScheduleError: there is no such attribute, or it is neither a number nor a
            tensor.
    """

    def __init__(self, module: object, attribute: str, *, schedule: Scheduled) -> None:
        value = getattr(module, attribute, None)
        numeric = isinstance(value, float | int | torch.Tensor)
        if not numeric or isinstance(value, bool):
            raise ScheduleError(
                f"{type(module).__name__}.{attribute} is {value!r}; expected a number "
                "or a tensor that can follow a schedule"
            )
        self.module = module
        self.attribute = attribute
        self.schedule = schedule

    def begin(self, step: int) -> None:
        """Set the value for the update after `step` others."""
        value = self.schedule(step)
        held = getattr(self.module, self.attribute)
        if isinstance(held, torch.Tensor):
            with torch.no_grad():
                held.fill_(value)
        else:
            setattr(self.module, self.attribute, value)

    def __call__(self, step: int) -> Mapping[str, float]:
        """Set the value for the next update, and say it."""
        self.begin(step)
        return {self.attribute: self.schedule(step)}


def _was_skipped(optimizer: Optimizer) -> bool:
    """Whether a fused optimizer left the weights alone, as a scaler asked it to.

    Others are not called at all where a gradient overflowed. Only under a scaler does
    it wait for the device.
    """
    found = getattr(optimizer, "found_inf", None)
    return found is not None and bool(found > 0)


def _registered(optimizer: Optimizer) -> tuple[PostSteps, ...]:
    return optimizer.__dict__.get(SAVED, ())
