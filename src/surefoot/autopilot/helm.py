"""The autopilot of one optimizer: hooks measure, `controller` decides, `apply` acts."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from surefoot.autopilot.apply import apply_changes
from surefoot.autopilot.brake import Brake
from surefoot.autopilot.controller import decide, limits_for
from surefoot.autopilot.flight import Decision, Rules, State
from surefoot.autopilot.gauges import SUMS, Gauges
from surefoot.autopilot.live import KnobError, Live
from surefoot.autopilot.piling import Piling
from surefoot.autopilot.ranks import Ranks, row_of
from surefoot.autopilot.reading import LAG, Reading, on_host
from surefoot.autopilot.signal import Signal
from surefoot.blackbox.state import Trained
from surefoot.gradients.norms import grad_scale, total_norm, weights_of
from surefoot.probes.shield import Shield
from surefoot.schedules.lending import lend
from surefoot.schedules.stepping import steps_of
from surefoot.types import Change, Event

Tell = Callable[[Event], None]

Measured = Callable[[], "Tensor | Sequence[float] | None"]
"""Norms of the gradients of the coming update, NaN where there is none; None where
they are not known."""


def nobody_measured() -> None:
    """No norms are known."""


KEY = "surefoot.helm"
"""Where an optimizer keeps who steers it: copies and pickles do not have it."""

TOLD_AGAIN = 2.0
"""The rate's factor is told when it moved by this much since it was last told."""

RAISED = "the gradient goes on pointing the way of the last update, or no longer does"


class Helm:
    """Steers one optimizer from its hooks, from `__init__` until `close`.

    `lag` is after how many updates the numbers of one are read: none on the CPU.
    `measured` gives the norms of the gradients where somebody took them already.
    """

    def __init__(
        self,
        trained: Trained,
        optimizer: Optimizer,
        *,
        rules: Rules,
        tell: Tell,
        measured: Measured = nobody_measured,
    ) -> None:
        self.optimizer = optimizer
        self.rules = rules
        self.state = State()
        self.memory = 10**9
        self._home = next(
            (w.device for w in weights_of(optimizer)), torch.device("cpu")
        )
        self.lag = 0 if self._home.type == "cpu" else LAG
        self.brake = Brake(optimizer, trained)
        self._tell = tell
        self._ranks = Ranks()
        self._gauges = Gauges(optimizer)
        self._piling = Piling(optimizer, Shield(self._lost))
        self._live = Live(trained.models, [optimizer], brake=self.brake)
        self._shield = Shield(lambda name, error: self._say("off", why=error))
        self._losses: list[Tensor] = []
        self._late: bool | None = None
        self._stale = False
        self._peak, self._told_factor, self._quiet = 0.0, 1.0, ""
        self._pending: deque[Reading] = deque()
        # What another action of ours changes comes after whoever measured.
        self._measured = nobody_measured if steps_of(optimizer).acting else measured
        self._leave = steps_of(optimizer).add(self._before, self._after)
        # After our own action, which decides on the factor of the step.
        self._take_back = lend([optimizer], self._lent)
        optimizer.__dict__[KEY] = self

    def see_loss(self, loss: Tensor) -> None:
        """A loss before or after its update."""
        if self._stale and self._late:
            # The weights were put back since: this loss is of those before that.
            self._stale = False
            return
        self._losses.append(loss.detach())

    def close(self) -> None:
        """Take the hooks off; the weights stay as they are."""
        self._take_back()
        self._leave()
        self._piling.close()
        self.optimizer.__dict__.pop(KEY, None)
        self.brake.release()
        self.brake.drop(())

    # --- the two hooks ---------------------------------------------------------

    def _before(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        if any(callable(given) for given in (*args[1:2], kwargs.get("closure"))):
            self._shield.run("autopilot", refuse_closure)
        with torch.no_grad():
            self._shield.run("autopilot", self._act)
        if "autopilot" not in self._shield.off:
            self._shield.run("autopilot", self.brake.engage)

    def _lent(self, group: dict[str, Any], step: int) -> dict[str, Any]:
        return {} if self._shield.off else self.brake.lent(group, step)

    def _after(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        self.brake.release()
        self._live.step += 1
        if "autopilot" not in self._shield.off:
            self._piling.arm(self._live.step)

    def _act(self) -> None:
        """Measure, decide, and carry out."""
        self.brake.ready()
        reading = self._reading()
        step = self._live.step
        self._gauges.arm(step)
        self._pending.append(reading)
        if len(self._pending) <= self.lag:
            return
        signal = self._pending.popleft().signal()
        if signal is None:
            return
        self.state, decision = decide(self.state, signal, self.rules)
        self._carry_out(decision, signal)
        if self.state.quiet != self._quiet:
            self._quiet = self.state.quiet
            self._say("quiet", why=self._quiet)

    def _reading(self) -> Reading:
        """What is known of this update, launched but not waited for."""
        if self._late is None:
            self._late = not self._losses
        losses, self._losses = self._losses, []
        known = [one.reshape(()).float() for one in losses]
        loss = torch.stack(known).mean() if known else 0.0
        steering = self.rules.frozen is not None or self.rules.raising is not None
        looked = self._gauges.look() if steering else None
        sums = torch.zeros(SUMS) if looked is None else looked
        values = [loss, float(bool(known)), self._norm(), self._piling.seen(), sums]
        row = self._ranks.mean(row_of(values, self._home))
        copy, arrived = on_host(row)
        limits = limits_for(self.state, self.rules)
        if self.lag:
            self.brake.limit(limits, row[2])
        return Reading(
            step=self._live.step,
            row=copy,
            arrived=arrived,
            looked=looked is not None,
            scaled=grad_scale(self.optimizer) is not None,
            fade=min(self._fade(), self.rules.fade(self._live.step)),
            limits=limits,
            late=self._late,
            keepable=self._copied(),
        )

    def _norm(self) -> Tensor | float:
        """2-norm of the whole gradient, unscaled."""
        known = None if self._ranks.size > 1 else self._measured()
        held = sum(len(group["params"]) for group in self.optimizer.param_groups)
        scaled = grad_scale(self.optimizer) is not None
        if known is None or scaled or len(known) != held:
            return total_norm(self.optimizer)
        if isinstance(known, Tensor):
            return torch.linalg.vector_norm(known.nan_to_num(0.0, posinf=math.inf))
        return math.sqrt(sum(one * one for one in known if one == one))

    def _copied(self) -> bool:
        """Whether the state before this update can be kept once it is judged.

        With a lag it has to be copied now; it is dropped if nobody asks for it.
        """
        step = self._live.step
        if self.lag and (step % self.rules.divergence.every or not self.rules.keeps):
            return False
        if self.lag:
            self.brake.keep(step)
        return True

    def _fade(self) -> float:
        """The schedule's rate over its highest so far."""
        rate = max(float(group["lr"]) for group in self.optimizer.param_groups)
        self._peak = max(self._peak, rate)
        return rate / self._peak if self._peak > 0 else 1.0

    # --- what is done ----------------------------------------------------------

    def _carry_out(self, decision: Decision, signal: Signal) -> None:
        """All that the decision and the state ask for."""
        brake, state, why = self.brake, self.state, decision.why or RAISED
        brake.fade = self._fade()
        if decision.keep:
            self._keep(signal.step)
        if decision.restore is not None:
            self._restore(decision.restore, why=_said(decision))
        elif decision.action == "skip":
            self._change("step", "skip", self.lag, why=_said(decision))
        elif signal.limits.clip is not None and signal.limits.clips(signal.norm):
            self._clip(signal.limits.clip / signal.norm)
        if state.moments.cap != brake.cap:
            self._change("step", "cap", state.moments.cap or 0.0, why=why)
        if state.factor != brake.factor:
            self._scale(why, mute=decision.action == "go")
        waiting = [one.step for one in self._pending]
        brake.drop((*self.state.held, *waiting))

    def _restore(self, step: int, *, why: str) -> None:
        """Put a state back; what was measured since belongs to what was taken back."""
        self._change("state", "restore", step, why=why)
        self.brake.skip = True
        self._pending.clear()
        self._gauges.forget()
        self._stale = True

    def _clip(self, share: float) -> None:
        why = "the gradient is longer than a few medians of the last ones"
        self._change("gradient", "scale", 1.0 if self.lag else share, why=why)

    def _scale(self, why: str, *, mute: bool) -> None:
        """Move the rate's factor; small moves are made, but not told."""
        factor = max(self.state.factor, 1e-30)
        moved = factor / self._told_factor
        small = mute and 1 / TOLD_AGAIN < moved < TOLD_AGAIN
        self._told_factor = self._told_factor if small else factor
        self._change("step", "scale", factor, why=why, quietly=small)

    def _keep(self, step: int) -> None:
        """Keep the present state, as far as there is room."""
        if step not in self.brake.states:
            self.brake.keep(step)
        sizes = {at: one.nbytes for at, one in self.brake.states.items()}
        if sum(sizes.values()) <= self.memory:
            return
        if sizes[step] > self.memory:
            self.rules = replace(self.rules, keeps=False)
            have = f"one takes {sizes[step]} bytes, memory= allows {self.memory}"
            self._say("no states are kept", why=have)
            self.state = replace(self.state, kept=(), trial=None)
            return
        # The one that is held for good goes first: the newest has the most in it.
        room, kept = self.memory, list(self.state.kept)
        while len(kept) > 1 and sum(sizes[one.step] for one in kept) > room:
            kept.pop(0)
        self.state = replace(self.state, kept=tuple(kept))

    def _change(
        self, knob: str, op: str, amount: float, *, why: str, quietly: bool = False
    ) -> None:
        tell = _nobody if quietly else self._tell
        apply_changes([Change(knob, op, amount)], self._live, why, tell)

    def _lost(self, name: str, error: str) -> None:
        self._say(f"{name}: off", why=error)

    def _say(self, what: str, *, why: str) -> None:
        self._tell(Event(self._live.step, "autopilot", {"what": what, "why": why}))


def _nobody(event: Event) -> None:
    """Who hears of moves too small to be told."""


def _said(decision: Decision) -> str:
    """Why, with the numbers."""
    facts = ", ".join(f"{name} {value:.4g}" for name, value in decision.facts.items())
    return f"{decision.why} ({facts})" if facts else decision.why


def refuse_closure() -> None:
    """Refuse an optimizer that computes gradients inside its step.

    Raises:
        KnobError: always.
    """
    raise KnobError(
        "an autopilot came for an optimizer that computes gradients inside its step; "
        "expected loss.backward() before optimizer.step() without a closure"
    )
