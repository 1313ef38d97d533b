"""Attach to a script nobody changed: torch's own calls come in, streams go out.

Optimizers are seen when they are made or take their first step, models are found
from the parameters that they hold, losses are caught at `backward`.
"""

from __future__ import annotations

import cmath
import gc
import inspect
import os
import weakref
from collections.abc import Callable, Mapping, Sequence
from functools import partial, wraps
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from torch.optim.optimizer import register_optimizer_step_pre_hook

from surefoot.gradients.norms import weights_of
from surefoot.preflight.tape import LOSSES
from surefoot.probes.options import Options
from surefoot.probes.recorder import Recorder
from surefoot.probes.shield import Shield
from surefoot.probes.streams import Watched
from surefoot.probes.trace import user_line
from surefoot.restore.hooks import VanishingHook
from surefoot.run import Run
from surefoot.watching import stream_named

Prepare = Callable[[Mapping[str, nn.Module], Sequence[torch.optim.Optimizer]], None]
Begun = Callable[[Mapping[str, nn.Module], Mapping[str, torch.optim.Optimizer]], None]


class Attachment:
    """Watches whatever this process trains, from `__init__` until `detach`.

    `start` opens the run when the first optimizer is about to be used; `prepare` is
    called once with models and optimizers before anything is recorded, `begun` once
    with models and the streams' optimizers when all of them are. With `targets`, the
    targets of torch's loss functions are caught too, for a black box.
    """

    def __init__(
        self,
        start: Callable[[], Run],
        prepare: Prepare,
        begun: Begun | None = None,
        *,
        targets: bool = False,
    ) -> None:
        self.run: Run | None = None
        self._start = start
        self._prepare = prepare
        self._begun = begun
        self._shield = Shield(lambda name, error: None)
        self._waiting: list[weakref.ref[torch.optim.Optimizer]] = []
        self._optimizers: dict[str, torch.optim.Optimizer] = {}
        self._models: dict[str, nn.Module] = {}
        self._triggers: list[Any] = []
        self._losses: list[torch.Tensor] = []
        self._last_losses: list[torch.Tensor] = []
        self._saved_to: list[str] = []
        self._scaled: tuple[weakref.ref[torch.Tensor], torch.Tensor] | None = None
        self._restore = [
            register_optimizer_step_pre_hook(self._stepping).remove,
            _wrapped(torch.optim.Optimizer, "__init__", self._made),
            _wrapped(torch.amp.GradScaler, "scale", self._scaling),
            _wrapped(torch.amp.GradScaler, "step", self._scaler_step),
            _wrapped(torch.autograd, "backward", self._backward),
            _wrapped(torch, "save", self._saved),
        ]
        for name in LOSSES if targets else ():
            if hasattr(functional, name):
                action = partial(self._scoring, name)
                self._restore.append(_wrapped(functional, name, action))

    def detach(self) -> None:
        """Put everything back as it was; the run stays open."""
        for restore in self._restore:
            restore()
        for trigger in self._triggers:
            trigger.remove()

    # --- what torch calls ------------------------------------------------------

    def _made(self, original: Any, optimizer: Any, *args: Any, **kwargs: Any) -> None:
        """An optimizer is constructed: wait for its model's first forward pass."""
        original(optimizer, *args, **kwargs)
        self._shield.run("attaching to optimizers", lambda: self._expect(optimizer))

    def _expect(self, optimizer: torch.optim.Optimizer) -> None:
        """Attach to this optimizer when its model is called for the first time."""
        if any(ref() is optimizer for ref in self._waiting):
            return
        self._waiting.append(weakref.ref(optimizer))
        for root in roots_of([optimizer]).values():
            hook = root.register_forward_pre_hook(_Trigger(self), with_kwargs=True)
            self._triggers.append(hook)

    def _stepping(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        """An optimizer is about to step: it is watched from here on at the latest."""
        if all(known is not optimizer for known in self._optimizers.values()):
            if all(ref() is not optimizer for ref in self._waiting):
                self._waiting.append(weakref.ref(optimizer))
            self._shield.run("attaching to models", lambda: self.attach(late=True))
        self._shield.run("telling losses", lambda: self._tell_losses(optimizer))

    def _tell_losses(self, optimizer: torch.optim.Optimizer) -> None:
        """Tell the losses that lead to an update just before it is made."""
        if self.run is None:
            return
        for loss in self._losses or self._last_losses:
            self.run.see_loss(loss, optimizer=optimizer)
        if self._recorder_of(optimizer) is None:
            self._take_losses()  # nobody else does, where nothing is recorded

    def _scaling(self, original: Any, scaler: Any, outputs: Any) -> Any:
        """A GradScaler scales the loss: remember the unscaled one."""
        result = original(scaler, outputs)
        if isinstance(outputs, torch.Tensor):
            self._scaled = (weakref.ref(result), outputs)
        return result

    def _scaler_step(
        self, original: Any, scaler: Any, optimizer: Any, *args: Any, **kwargs: Any
    ) -> Any:
        """A GradScaler steps an optimizer, or skips: then no update is made."""
        recorder = self._recorder_of(optimizer)
        before = recorder.step if recorder is not None else 0
        result = original(scaler, optimizer, *args, **kwargs)
        if recorder is not None and recorder.step == before:
            self._shield.run("skipped steps", lambda: self._skipped(recorder))
        return result

    def _recorder_of(self, optimizer: Any) -> Recorder | None:
        """The recorder of an optimizer, if it is watched already."""
        streams = self.run.streams.values() if self.run is not None else ()
        return next((r for r in streams if r.watched.optimizer is optimizer), None)

    def _skipped(self, recorder: Recorder) -> None:
        """Tell a skipped update; its losses belong to no other."""
        recorder.skipped()
        self._take_losses()

    def _backward(self, original: Any, tensors: Any, *args: Any, **kwargs: Any) -> Any:
        """The loss is known: it is what `backward` is called on."""
        if isinstance(tensors, torch.Tensor) and tensors.numel() == 1:
            self._shield.run("catching losses", lambda: self._catch(tensors))
        return original(tensors, *args, **kwargs)

    def _scoring(self, name: str, original: Any, *args: Any, **kwargs: Any) -> Any:
        """A loss function is called: its target is kept beside the model's input."""
        if not torch.compiler.is_compiling() and self.run is not None:
            box = self.run.box
            if box is not None:
                target = args[1] if len(args) > 1 else kwargs.get("target")
                rest = {k: v for k, v in kwargs.items() if k not in ("input", "target")}
                box.see_target(name, target, rest)
        return original(*args, **kwargs)

    def _saved(self, original: Any, *args: Any, **kwargs: Any) -> None:
        """Something was saved: told where it went to a file of the script's own."""
        original(*args, **kwargs)
        to = kwargs.get("f", args[1] if len(args) > 1 else None)
        if isinstance(to, str | os.PathLike):
            self._saved_to.append(os.fspath(to))
            self._shield.run("checkpoints", self._tell_saved)

    def _tell_saved(self) -> None:
        """Tell the run of checkpoints, as soon as there is one."""
        while self.run is not None and self._saved_to:
            self.run.checkpoint(self._saved_to.pop(0))

    def _catch(self, scalar: torch.Tensor) -> None:
        """Keep a loss, and search for what made it non-finite."""
        loss = scalar
        if self._scaled is not None and self._scaled[0]() is scalar:
            loss = self._scaled[1]
        self._scaled = None
        if self._waiting:
            self.attach()
        streams = self.run.streams.values() if self.run is not None else ()
        wanted = any(recorder.wants_graph for recorder in streams)
        self._losses.append(loss if wanted else loss.detach())
        for recorder in streams:
            recorder.see_loss(loss)
        if self.run is not None and self.run.box is not None:
            self.run.box.see_loss(loss)
        self._check(loss)

    # --- streams ---------------------------------------------------------------

    def attach(self, *, late: bool = False) -> None:
        """Watch the optimizers that wait, with the models that own their weights.

        An optimizer without a model waits on until it steps (`late`): while a model
        runs, FSDP holds other tensors in the places of its parameters.
        """
        waiting = [one for ref in self._waiting if (one := ref()) is not None]
        roots = roots_of([*self._optimizers.values(), *waiting])
        new = [one for one in waiting if late or _owned(one, roots)]
        if not new:
            return
        self._waiting = [weakref.ref(one) for one in waiting if one not in new]
        for trigger in self._triggers:
            trigger.remove()
        self._triggers = []
        self._models = roots
        if self.run is None:
            self.run = self._start()
            self._prepare(roots, new)
            self._tell_saved()
        names = self._stream_names(new)
        self._optimizers |= names
        for name in names:
            find = partial(self._find, name)
            self.run.add(find, Options(), caught=self._take_losses)
        if self._begun is not None:
            self._begun(roots, names)
            self._begun = None
        if self.run.box is not None:
            self.run.box.watch(self._models, self._optimizers)

    def see_call(self, module: nn.Module, args: Any, kwargs: Any) -> None:
        """A model's forward pass begins: attach, and do not miss this call."""
        self._shield.run("attaching to models", self.attach)
        if self.run is None:
            return
        for recorder in self.run.streams.values():
            if any(root is module for root in recorder.watched.roots.values()):
                recorder.see_call(module, args, kwargs)
        if self.run.box is not None:
            self.run.box.called(args, kwargs)

    def _find(self, name: str) -> Watched:
        return stream_named(name, self._models, self._optimizers)

    def _stream_names(
        self, new: Sequence[torch.optim.Optimizer]
    ) -> dict[str, torch.optim.Optimizer]:
        """A name a stream: "main" for a single optimizer, else what it trains."""
        if len(new) == 1 and not self._optimizers:
            return {"main": new[0]}
        names: dict[str, torch.optim.Optimizer] = {}
        for optimizer in new:
            label = _trained_by(optimizer, self._models)
            names[unused(label, {*self._optimizers, *names})] = optimizer
        return names

    def _take_losses(self) -> list[torch.Tensor]:
        """Losses since the last update; the last ones again if two share them."""
        if self._losses:
            self._last_losses, self._losses = self._losses, []
        return list(self._last_losses)

    def _check(self, loss: torch.Tensor) -> None:
        """Search for the origin of a non-finite loss while its graph is whole."""
        if not loss.is_cpu or self.run is None or cmath.isfinite(loss.item()):
            return
        line = user_line(inspect.currentframe())
        for recorder in self.run.streams.values():
            recorder.search_loss(loss, line)


class _Trigger(VanishingHook):
    """The hook that waits for the first forward pass of a model."""

    def __init__(self, attachment: Attachment) -> None:
        self._attachment = attachment

    def __call__(self, module: nn.Module, args: Any, kwargs: Any) -> None:
        if not torch.compiler.is_compiling() and torch.is_grad_enabled():
            self._attachment.see_call(module, args, kwargs)


def _wrapped(owner: Any, name: str, action: Callable[..., Any]) -> Callable[[], None]:
    """Let an action stand around a function of torch; undo goes out."""
    original = getattr(owner, name)

    @wraps(original)
    def call(*args: Any, **kwargs: Any) -> Any:
        return action(original, *args, **kwargs)

    setattr(owner, name, call)
    return lambda: setattr(owner, name, original)


def roots_of(optimizers: Sequence[torch.optim.Optimizer]) -> dict[str, nn.Module]:
    """The outermost modules that own parameters of some optimizers, by class name.

    Modules are looked for among all live objects; names are unique.
    """
    wanted = {id(weight) for one in optimizers for weight in weights_of(one)}
    # By type, not isinstance: lazy proxies of other libraries run code when asked.
    modules: list[nn.Module] = [
        thing for thing in gc.get_objects() if issubclass(type(thing), nn.Module)
    ]
    owners = [
        module
        for module in modules
        if "_parameters" in vars(module)
        and any(id(weight) in wanted for weight in module.parameters())
    ]
    inner = {id(child) for owner in owners for child in _below(owner)}
    named: dict[str, nn.Module] = {}
    for owner in owners:
        if id(owner) not in inner:
            named[unused(type(owner).__name__, named)] = owner
    return named


def _trained_by(
    optimizer: torch.optim.Optimizer, models: Mapping[str, nn.Module]
) -> str:
    """What an optimizer trains: a part of a model such as "encoder", or its class."""
    held = {id(weight) for weight in weights_of(optimizer)}
    for label, model in models.items():
        rows = model.named_parameters()
        parts = {name.partition(".")[0] for name, weight in rows if id(weight) in held}
        if parts:
            whole = len(parts) > 1 or len(list(model.children())) == 1
            return label.lower() if whole else parts.pop()
    return type(optimizer).__name__.lower()


def _owned(optimizer: torch.optim.Optimizer, models: Mapping[str, nn.Module]) -> bool:
    """Whether a model owns a parameter of the optimizer."""
    held = {id(weight) for weight in weights_of(optimizer)}
    return any(id(w) in held for model in models.values() for w in model.parameters())


def _below(module: nn.Module) -> list[nn.Module]:
    """All modules under a module, without itself."""
    return [child for child in module.modules() if child is not module]


def unused(label: str, taken: Mapping[str, Any] | set[str]) -> str:
    """The label, with a number if it is taken already.

    >>> unused("net", {"net"})
    'net2'
    """
    if label not in taken:
        return label
    number = 2
    while f"{label}{number}" in taken:
        number += 1
    return f"{label}{number}"
