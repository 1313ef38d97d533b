"""A script plays the moments of an incident: it drives, its inputs are recorded ones.

The unmodified script runs until its first update; then the recorded state is put into
its models and optimizers, and each forward pass gets the recorded inputs, targets,
random numbers and rates. Loss, clipping and accumulation are the script's own. An
Outcome goes out.
"""

from __future__ import annotations

import math
import os
import runpy
import sys
import time
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

import torch
from torch import nn
from torch.optim.optimizer import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)

from surefoot.attach import roots_of
from surefoot.autopilot.apply import apply_changes
from surefoot.autopilot.live import KnobError, Live
from surefoot.blackbox.errors import StateError
from surefoot.blackbox.incident import Incident, StepRecord
from surefoot.blackbox.state import Trained, companions, restore
from surefoot.gradients.norms import total_norm
from surefoot.preflight.tape import LOSSES
from surefoot.replay.casting import cast
from surefoot.replay.errors import ReplayError
from surefoot.replay.outcome import Outcome
from surefoot.replay.stage import on_device, set_rates
from surefoot.replay.window import Window, replayed_steps
from surefoot.restore.around import around
from surefoot.types import Prescription


class _EnoughError(BaseException):
    """The last recorded step was played: the script has come far enough."""


class Direction:
    """One branch while a script plays it; as a context manager, it ends the script."""

    def __init__(
        self, incident: Incident, window: Window, prescription: Prescription
    ) -> None:
        self.losses: list[float] = []
        self.norms: list[float] = []
        self.aside: list[float] = []
        self.notes: list[str] = []
        self.refused = self.ended = ""
        self._over, self._updates = False, 0
        self.seconds = 0.0
        self._began = 0.0
        self.error: BaseException | None = None
        steps = replayed_steps(incident)
        self._incident, self._window = incident, window
        self._prescription = prescription
        self._last = [one for one in steps if one.step in window.aside]
        self._rows = [one for one in steps if one.step <= window.last] + self._last
        self._place = -1
        self._micro: list[float] = []
        self._targets: list[Any] = []
        self._supplied = False
        self._stepped: set[str] = set()
        self._trained: Trained | None = None
        self._made: list[weakref.ref[torch.optim.Optimizer]] = []
        self._unscaled: tuple[weakref.ref[torch.Tensor], torch.Tensor] | None = None
        self._restore: list[Callable[[], None]] = []

    @property
    def outcome(self) -> Outcome:
        """What the branch did so far."""
        aside = sum(self.aside) / len(self.aside) if self.aside else math.nan
        whole = not self.refused and len(self.aside) == sum(
            len(one.micro) for one in self._last
        )
        return Outcome(
            branch=self._prescription.remedy,
            losses=() if self.refused else tuple(self.losses),
            grad_norms=() if self.refused else tuple(self.norms),
            aside=aside if whole else math.nan,
            refused=self.refused,
            ended=self.ended,
            updates=self._updates if self._over else None,
            seconds=self.seconds,
            notes=tuple(dict.fromkeys(self.notes)),
        )

    # --- around the script ------------------------------------------------------

    def __enter__(self) -> Self:
        functional = torch.nn.functional
        self._restore = [
            register_optimizer_step_pre_hook(self._stepping).remove,
            register_optimizer_step_post_hook(self._after_step).remove,
            around(torch.optim.Optimizer, "__init__", self._making),
            around(torch.autograd, "backward", self._backward),
            around(torch.amp.GradScaler, "scale", self._scaling),
            *(
                around(functional, name, self._scoring)
                for name in LOSSES
                if hasattr(functional, name)
            ),
        ]
        return self

    def __exit__(self, kind: object, error: BaseException | None, at: object) -> bool:
        for undo in self._restore:
            undo()
        if isinstance(error, KeyboardInterrupt):
            return False
        self.error = None if isinstance(error, _EnoughError) else error
        if not isinstance(error, _EnoughError) and self._trained is not None:
            self._over = error is None
            done, asked = len(self.losses), len(self._rows) - len(self._last)
            said = "it ended" if error is None else f"{type(error).__name__}: {error}"
            if done < asked or error is not None:
                self.ended = f"after {done} of {asked} steps the script stopped: {said}"
        return True

    # --- what torch calls ---------------------------------------------------------

    def _making(self, original: Any, optimizer: Any, *args: Any, **kwargs: Any) -> None:
        """An optimizer is constructed: it may be one of those that were recorded."""
        original(optimizer, *args, **kwargs)
        self._made.append(weakref.ref(optimizer))

    def _stepping(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        """An optimizer is about to step: the first one opens the play."""
        if self._trained is None:
            self._cast(optimizer)
        name = self._name_of(optimizer)
        record = self._record
        if name is None:
            return
        if record is None or self._place >= len(self._rows) - len(self._last):
            # Before the play and after it no update is made.
            self._clear(optimizer)
            return
        set_rates({name: optimizer}, record.rates)
        norm = float(total_norm(optimizer))
        if len(self.norms) < self._place + 1:
            self.norms.append(0.0)
        self.norms[-1] = math.hypot(self.norms[-1], norm)

    def _after_step(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        """An update was made: the next recorded step comes when all have stepped."""
        name, record = self._name_of(optimizer), self._record
        if name is None or record is None:
            return
        self._stepped.add(name)
        if not self._stepped >= record.rates.keys() & self._names:
            return
        self._stepped = set()
        self._count(record)
        self._place += 1
        if self._place >= len(self._rows):
            raise _EnoughError
        self._part()

    def _entering(self, module: nn.Module, args: Any, kwargs: Any) -> Any:
        """A model is called: it gets the recorded inputs, once a micro-batch."""
        if not torch.is_grad_enabled() or torch.compiler.is_compiling():
            return None
        if self._place < 0:
            self._open()
        record = self._record
        if record is None or self._supplied or len(self._micro) >= len(record.micro):
            return None
        micro = record.micro[len(self._micro)]
        self._supplied = True
        given = on_device(micro.batch, _device_of(module))
        if micro.kind != "call":
            raise ReplayError(
                "the incident holds batches as they were told to run.step(batch=…); "
                "expected the calls of the model, as `surefoot run` records them; "
                "replay it with surefoot.read_incident(path).replay(model, optimizer, "
                "loss_fn=…)"
            )
        (new_args, new_kwargs), targets = given
        self._targets = (
            list(targets) if isinstance(targets, list | tuple) else [targets]
        )
        if micro.random is not None:
            micro.random.restore()
        return tuple(new_args), dict(new_kwargs)

    def _scoring(self, original: Any, *args: Any, **kwargs: Any) -> Any:
        """A loss function of torch is called: it gets the recorded targets in turn."""
        given = kwargs.get("target", args[1] if len(args) > 1 else None)
        if not self._supplied or not self._targets or not torch.is_grad_enabled():
            return original(*args, **kwargs)
        if not isinstance(given, torch.Tensor):
            return original(*args, **kwargs)
        target = self._targets.pop(0)
        if not isinstance(target, torch.Tensor):
            return original(*args, **kwargs)
        target = target.to(given.device)
        if "target" in kwargs:
            return original(*args, **{**kwargs, "target": target})
        return original(*args[:1], target, *args[2:], **kwargs)

    def _backward(self, original: Any, tensors: Any, *args: Any, **kwargs: Any) -> Any:
        """The loss of a micro-batch is known: it is what `backward` is called on."""
        if isinstance(tensors, torch.Tensor) and tensors.numel() == 1:
            loss = tensors
            if self._unscaled is not None and self._unscaled[0]() is tensors:
                loss = self._unscaled[1]
            self._unscaled = None
            if self._place >= 0:
                self._micro.append(float(loss.detach()))
                self._supplied = False
        return original(tensors, *args, **kwargs)

    def _scaling(self, original: Any, scaler: Any, outputs: Any) -> Any:
        """A GradScaler scales the loss: remember the unscaled one."""
        result = original(scaler, outputs)
        if isinstance(outputs, torch.Tensor):
            self._unscaled = (weakref.ref(result), outputs)
        return result

    # --- the play -------------------------------------------------------------------

    @property
    def _record(self) -> StepRecord | None:
        """The recorded step that is being played; None before and after the play."""
        return self._rows[self._place] if 0 <= self._place < len(self._rows) else None

    @property
    def opened(self) -> bool:
        """Whether the recorded state was put in."""
        return self._place >= 0

    @property
    def _names(self) -> set[str]:
        return set() if self._trained is None else set(self._trained.optimizers)

    def _name_of(self, optimizer: Any) -> str | None:
        known = {} if self._trained is None else self._trained.optimizers
        return next((k for k, one in known.items() if one is optimizer), None)

    def _cast(self, first: torch.optim.Optimizer) -> None:
        """Find out which of the script's models and optimizers were recorded."""
        there = [one for ref in self._made if (one := ref()) is not None]
        there = [*there, *(() if any(o is first for o in there) else (first,))]
        models, optimizers = cast(self._incident.state, roots_of(there), there)
        self._trained = Trained(models, optimizers, companions([*optimizers.values()]))
        for model in models.values():
            hook = model.register_forward_pre_hook(
                self._entering, with_kwargs=True, prepend=True
            )
            self._restore.append(hook.remove)

    def _open(self) -> None:
        """Put the recorded state in; the first recorded step is about to be played."""
        if self._trained is None:
            return
        also = self._incident.state.rest["also"].keys()
        here = {k: v for k, v in self._trained.also.items() if k in also}
        lost = [key for key in also if key not in here]
        if lost:
            self.notes.append(f"{', '.join(lost)} of the recorded run is not there")
        trained = Trained(self._trained.models, self._trained.optimizers, here)
        restore(self._incident.state, trained, also=not lost)
        self._place = 0
        self._micro, self._stepped = [], set()
        self._began = time.perf_counter()
        self._part()

    def _part(self) -> None:
        """Where the branches part, carry out the change."""
        record, changes = self._record, self._prescription.changes
        if record is None or self._trained is None or not changes:
            return
        if record.step != self._window.parting or self._place >= self._window.steps:
            return
        optimizers = [*self._trained.optimizers.values()]
        live = Live(self._trained.models, optimizers, record.step)
        try:
            apply_changes(changes, live, "a branch of a replay", lambda event: None)
        except KnobError as error:
            self.refused = str(error)
            raise _EnoughError from error

    def _count(self, record: StepRecord) -> None:
        """Take the losses of a step that was played."""
        mean = sum(self._micro) / len(self._micro) if self._micro else math.nan
        self._updates += 1
        if self._place >= len(self._rows) - len(self._last):
            self.aside += self._micro
        else:
            self.losses.append(mean)
            self.seconds = time.perf_counter() - self._began
        if len(self._micro) != len(record.micro):
            self.notes.append(
                f"the script calls backward() {len(self._micro)} times an update, "
                f"recorded were {len(record.micro)}"
            )
        self._micro, self._supplied = [], False

    def _clear(self, optimizer: Any) -> None:
        """Take the gradients away, so that a step changes nothing."""
        for group in optimizer.param_groups:
            for weight in group["params"]:
                weight.grad = None


def directed(script: Path, arguments: Sequence[str], direction: Direction) -> Direction:
    """Run a script as `__main__` under direction until the play is over.

    Raises:
        ReplayError: it took no update, or what it trains is not what was recorded.
        StateError: the recorded state does not fit what the script trains.
    """
    sys.argv = [str(script), *arguments]
    sys.path[0] = str(script.resolve().parent)
    os.environ["SUREFOOT"] = "off"
    with direction:
        runpy.run_path(str(script), run_name="__main__")
    if isinstance(direction.error, (ReplayError, StateError)):
        raise direction.error
    if not direction.opened:
        said = "" if direction.error is None else f" ({direction.error!r})"
        raise ReplayError(
            f"the script ended before its second update{said}; expected one that goes "
            "on training when it is run like this; replay it with the arguments that "
            "were recorded"
        )
    return direction


def _device_of(module: nn.Module) -> torch.device:
    return next((one.device for one in module.parameters()), torch.device("cpu"))
