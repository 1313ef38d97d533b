"""A run's hooks come in, the last good state and all batches since are at hand.

The live part of the black box. It takes States when they are due and affordable, logs
what each update was made from, and answers an alarm with an Incident. It changes
nothing of what it watches.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from surefoot.blackbox.about import about_run
from surefoot.blackbox.dispatch import Alarm, Dispatch, accused
from surefoot.blackbox.incident import Incident
from surefoot.blackbox.log import Log, Norms
from surefoot.blackbox.mirror import Mirror
from surefoot.blackbox.options import BlackBoxOptions
from surefoot.blackbox.ring import LATENCY, Ring
from surefoot.blackbox.spacing import Spacing
from surefoot.blackbox.state import State, Trained, capture, companions, weigh
from surefoot.probes.activations import in_training_pass
from surefoot.probes.meter import Meter
from surefoot.probes.nograd import NoGrad
from surefoot.probes.shield import Shield
from surefoot.restore.hooks import VanishingHook
from surefoot.schedules.lending import settings_made_with
from surefoot.types import Event

BATCH_SHARE = 0.5
"""Share of the budget that is kept free for batches at most."""

ALARM_SECONDS = 8.0
"""A diagnosis during a run comes with the second look at the record after the fault:
looks are three seconds apart, and what is looked at was written a second late."""

BEFORE_FAILURE = 40
"""An exception does not say since when: what led to it is looked for in as many updates
before it, the dozens by which alarms came late in our pilot study of policies."""

NAME = "black box"

_log = logging.getLogger("surefoot")


class BlackBox:
    """Keeps the last states and batches of a run, until `close`.

    `stem` is the path of its files without an ending; `tell` takes what happens as
    events; `norms` gives the norms of the gradients that an optimizer has just used;
    `about` is what was recorded of the program.
    """

    def __init__(
        self,
        options: BlackBoxOptions,
        stem: Path,
        *,
        tell: Callable[[Event], None],
        norms: Callable[[str], Norms],
        about: Mapping[str, Any],
    ) -> None:
        self.options = options
        self.ring = Ring(options.nbytes)
        self.log = Log(options.steps)
        self.meter = Meter()
        self.shield = Shield(self._failed)
        self.trained = Trained({}, {}, options.also)
        self._tell = tell
        self._norms = norms
        self._about = about
        self._searched = False
        self._too_small = False
        self._changes: list[tuple[int, str]] = []
        self._spacing = Spacing(self.meter, options.percent)
        self._handles: list[Any] = []
        self._dispatch = Dispatch(
            stem, options.incidents, tell=tell, shield=self.shield, hold=self._hold
        )
        self._mirror: Mirror | None = None
        if options.persist:
            place = stem.parent if options.persist is True else Path(options.persist)
            folder = place / f"{stem.name}.blackbox"
            self._mirror = Mirror(folder, shield=self.shield, hold=self._hold)

    @property
    def incidents(self) -> tuple[Path, ...]:
        """The incident files that were written."""
        return tuple(self._dispatch.written)

    # --- what it watches ---------------------------------------------------------

    def watch(
        self,
        models: Mapping[str, nn.Module],
        optimizers: Mapping[str, torch.optim.Optimizer],
    ) -> None:
        """Keep these from now on; states of what was watched before are forgotten."""
        self._unhook()
        self.trained = Trained(dict(models), dict(optimizers), self.options.also)
        self._searched = False
        self.ring.drop_after(-1)
        for model in models.values():
            hook = model.register_forward_pre_hook(_Forward(self), with_kwargs=True)
            self._handles.append(hook)
        for name, optimizer in optimizers.items():
            hook = optimizer.register_step_post_hook(_Updated(self, name))
            self._handles.append(hook)

    def called(self, args: Any, kwargs: Any) -> None:
        """A model is called; nothing of what goes wrong here reaches it."""
        with self.meter:
            self.shield.run(NAME, lambda: self.forward(args, kwargs))

    def forward(self, args: Any, kwargs: Any) -> None:
        """A model is called: before the first call of an update all is at rest."""
        if in_training_pass():
            if self.log.fresh:
                self._at_rest()
            self.log.forward(args, kwargs)

    def updated(self, name: str) -> None:
        """An optimizer made an update."""
        groups = settings_made_with(self.trained.optimizers[name])
        rates = tuple(_rate(group["lr"]) for group in groups if "lr" in group)
        unseen = self.log.fresh
        if self.log.update(name, rates, self._norms(name)):
            self._spacing.step()
            if unseen:  # no model was called as a module
                self._at_rest()
            self._fit()
            if self._mirror is not None:
                self._mirror.updates(self.log.since(self._mirror.next_step)[:-1])

    def told(self, losses: list[Any], batch: Any) -> None:
        """Losses of a micro-batch, and its batch, as the script tells them."""
        with self.meter, NoGrad():
            self.shield.run(NAME, lambda: self._told(losses, batch))

    def see_loss(self, loss: torch.Tensor) -> None:
        """A loss was caught as its backward pass begins."""
        with self.meter, NoGrad():
            self.shield.run(NAME, lambda: self.log.loss(loss))

    def see_target(self, name: str, target: Any, settings: Mapping[str, Any]) -> None:
        """A loss function of torch is called in a training pass."""
        if isinstance(target, torch.Tensor) and in_training_pass():
            with self.meter, NoGrad():
                score = self.log.score
                self.shield.run(NAME, lambda: score(name, target, settings))

    def see_event(self, event: Event) -> None:
        """Something was recorded; what is certain at once is acted on at once."""
        if event.kind == "skipped_step":
            self.log.skip()
        if event.kind == "change":
            self._changed(event)
        if event.kind == "nonfinite":
            where = str(event.body.get("layer") or "")
            reason = f"non-finite values in {where or 'the loss'}"
            self.alarm(Alarm(reason, event.step, accused(where), event.stream))

    def _changed(self, event: Event) -> None:
        """The run was acted on: its steps are made again with that, or not at all."""
        knob = str(event.body.get("knob"))
        self._changes.append((self.log.step, f"{knob} {event.body.get('op')}"))
        if knob == "state":
            # What follows does not go on from any state that is kept.
            self.ring.drop_after(-1)
            self._spacing.restart()

    # --- incidents ---------------------------------------------------------------

    def alarm(self, alarm: Alarm) -> None:
        """Something went wrong; it is answered between updates. Any thread may call."""
        self._dispatch.ask(alarm)

    def incident(self, alarm: Alarm) -> Incident | None:
        """What is at hand now, as a value; None where no state was kept.

        It begins with the newest state before the onset since which all batches are
        there, or else the newest before it, or else the oldest.
        """
        onset = self.log.step_of(alarm.stream, alarm.onset)
        whole = self.log.whole_since()
        states = self.ring.states
        before = [one for one in states if one.step <= onset]
        fitting = [one for one in before if one.step >= whole] or before
        if not states:
            return None
        state = fitting[-1] if fitting else states[0]
        updates = self.log.since(state.step)
        if updates and updates[0].step != state.step:
            updates = []
        about = {
            **about_run(self.trained, self._about),
            "budget": self.options.nbytes,
            "state_before_onset": bool(fitting),
            "all_batches": state.step >= whole,
            "changes": [[at, what] for at, what in self._changes if at >= state.step],
            "not_kept": list(state.rest["left_out"]),
        }
        steps = tuple(one.record() for one in updates)
        step = self.log.step
        return Incident(about, alarm.reason, step, onset, alarm.layers, state, steps)

    def close(self, status: str = "finished", error: str = "") -> None:
        """Take the hooks off; a run that failed leaves an incident."""
        self._unhook()
        if status == "failed":
            since = max(0, self.log.step - BEFORE_FAILURE)
            self.alarm(Alarm(error or "the run failed", since))
        self.shield.run("incident at the end", self._finish)
        if self._mirror is not None:
            # What was killed stays for recover(); what ended by itself needs none.
            mirror, keep = self._mirror, status == "failed" and not self.incidents
            self.shield.run("black box on disk", lambda: mirror.close(keep=keep))
        self.ring.drop_after(-1)
        self.log = Log(1)

    def _finish(self) -> None:
        self._dispatch.finish(self.incident)

    # --- states ------------------------------------------------------------------

    def keep(self) -> State | None:
        """Take a state now, if there is a place for it; it goes out."""
        if not self._searched:
            self._search()
        step, size = self.log.step, weigh(self.trained)
        if size > self.ring.budget_bytes:
            self._say_too_small(size)
            return None
        beside = min(self._reserve(), self.ring.budget_bytes - size)
        if not self.ring.has_place(step, size, beside=beside):
            return None
        start = time.thread_time()
        old = self.ring.clear_for(step, size, beside=beside)
        state = capture(self.trained, step, reuse=old)
        kept = self.ring.offer(state, beside=beside)
        self._fit()
        self._spacing.spent(step, time.thread_time() - start, state)
        if kept and self._mirror is not None:
            about = about_run(self.trained, self._about)
            self._mirror.state(state, self.ring.states, about)
        return state if kept else None

    def _told(self, losses: list[Any], batch: Any) -> None:
        self.log.told(losses, batch)
        self.log.fit(self.ring.budget_bytes - self.ring.nbytes)

    def _at_rest(self) -> None:
        """Between two updates, when the last one and its batches are told of."""
        self._dispatch.answer(self.incident)
        if self._too_small or not self._spacing.due(self.log.step):
            return
        self._spacing.weighed(weigh(self.trained))
        if self._spacing.due(self.log.step):
            self.keep()

    def _search(self) -> None:
        """Find schedulers and scalers, once."""
        self._searched = True
        models, optimizers = self.trained.models, self.trained.optimizers
        also = {**companions(optimizers.values()), **self.options.also}
        self.trained = Trained(models, optimizers, also)

    def _reserve(self) -> int:
        """Bytes of the budget that the batches of the coming updates will want."""
        window = max(self.ring.latency, 2 * self._spacing.interval())
        wanted = self.log.step_nbytes * min(window, self.options.steps)
        return int(min(wanted, BATCH_SHARE * self.ring.budget_bytes))

    def _fit(self) -> None:
        """Let go of what no incident could need, and of what does not fit."""
        late = ALARM_SECONDS / max(self._spacing.step_seconds, 1e-4)
        self.ring.latency = max(LATENCY, min(round(late), self.options.steps))
        states = self.ring.states
        self.log.drop_before(states[0].step if states else self.log.step - 1)
        self.log.fit(self.ring.budget_bytes - self.ring.nbytes)

    def _hold(self, state: State, reading: bool) -> None:
        (self.ring.hold if reading else self.ring.release)(state)

    def _say_too_small(self, size: int) -> None:
        """Once: the budget is smaller than one state."""
        self._too_small = True
        budget = self.ring.budget_bytes
        body = {"budget": budget, "state": size}
        self._tell(Event(self.log.step, "black_box_too_small", body))
        _log.warning(
            "the black box may take %.3g MB, and one state of this run takes %.3g MB: "
            "nothing is kept, training goes on; give it %.3g MB or more",
            budget / 1e6,
            size / 1e6,
            3 * size / 1e6,
        )

    def _unhook(self) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles = []

    def _failed(self, name: str, error: str) -> None:
        self._tell(Event(self.log.step, "probe_off", {"probe": name, "error": error}))


class _Forward(VanishingHook):
    """The hook of one model."""

    def __init__(self, box: BlackBox) -> None:
        self._box = box

    def __call__(self, module: nn.Module, args: Any, kwargs: Any) -> None:
        if not torch.compiler.is_compiling():
            self._box.called(args, kwargs)


class _Updated(VanishingHook):
    """The hook of one optimizer."""

    def __init__(self, box: BlackBox, name: str) -> None:
        self._box = box
        self._name = name

    def __call__(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        box = self._box
        with box.meter, NoGrad():
            box.shield.run(NAME, lambda: box.updated(self._name))
        box.meter.step()


def _rate(rate: Any) -> float | torch.Tensor:
    """A learning rate of now; one on a device is not waited for."""
    return rate.detach().clone() if isinstance(rate, torch.Tensor) else float(rate)
