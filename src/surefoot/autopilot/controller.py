"""A state and a signal come in, the next state and a decision go out.

All that the autopilot decides by itself is decided here, by numbers alone: no model,
no clock, no randomness. The same signals give the same decisions on every rank.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Literal

from surefoot.autopilot import divergence, frozen, raising, spikes
from surefoot.autopilot.divergence import Divergence, Trend
from surefoot.autopilot.frozen import FrozenMoments, Moments
from surefoot.autopilot.raising import Climb, Raising
from surefoot.autopilot.signal import Limits, Signal
from surefoot.autopilot.spikes import Spikes

Action = Literal["go", "skip", "restore", "undo"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """Which rules are in force, with their settings; None switches one off."""

    spikes: Spikes = field(default_factory=Spikes)
    divergence: Divergence = field(default_factory=Divergence)
    frozen: FrozenMoments | None = field(default_factory=FrozenMoments)
    raising: Raising | None = field(default_factory=Raising)
    interventions: int = 20
    stubborn: int = 12
    keeps: bool = True

    def __post_init__(self) -> None:
        if self.keeps and self.divergence.held < 1:
            raise ValueError("held=0 came; expected at least one state, or keeps=False")


@dataclass(frozen=True, slots=True)
class Kept:
    """A state that is kept: before which update, and how the loss stood then."""

    step: int
    trend: Trend | None


@dataclass(frozen=True, slots=True)
class Trial:
    """A remedy on trial: how all was before it, and when it is judged."""

    before: Kept
    rate: float
    cap: float | None
    due: int


@dataclass(frozen=True, slots=True)
class State:
    """All that the controller remembers; nothing but numbers.

    Attributes:
        trend: how the loss went.
        norms: of the last accepted gradients.
        row: updates skipped in a row.
        kept: states to go back to, oldest first; the first is held for good.
        rate: factor of the learning rate that alarms left.
        acted: the step of the last restore; None before the first.
        moved: updates made since then.
        moments: what the frozen alarm goes by.
        climb: how far the rate was raised.
        trial: the remedy on trial.
        spent: interventions so far.
        quiet: why it stopped acting; empty while it acts.
    """

    trend: Trend | None = None
    norms: tuple[float, ...] = ()
    row: int = 0
    kept: tuple[Kept, ...] = ()
    rate: float = 1.0
    acted: int | None = None
    moved: int = 0
    moments: Moments = field(default_factory=Moments)
    climb: Climb = field(default_factory=Climb)
    trial: Trial | None = None
    spent: int = 0
    quiet: str = ""

    @property
    def factor(self) -> float:
        """What the schedule's learning rate is multiplied by."""
        return self.rate * self.climb.factor

    @property
    def held(self) -> tuple[int, ...]:
        """The steps of all states that may be asked for."""
        steps = [one.step for one in self.kept]
        return (*steps, self.trial.before.step) if self.trial else tuple(steps)


@dataclass(frozen=True, slots=True)
class Decision:
    """What is done with one update.

    Attributes:
        action: make it, skip it, or skip it and put back the state `restore`.
        restore: the step of the state that is put back.
        keep: whether the state before this update is kept under its step.
        why: in words; empty where nothing is done.
        facts: the numbers it went by.
    """

    action: Action = "go"
    restore: int | None = None
    keep: bool = False
    why: str = ""
    facts: dict[str, float] = field(default_factory=dict[str, float])


GO = Decision()
Outcome = tuple[State, Decision]


def limits_for(state: State, rules: Rules) -> Limits:
    """The limits of the next gradient."""
    if state.quiet:
        return Limits()
    return spikes.limits_of(state.norms, state.row, rules.spikes)


def decide(state: State, signal: Signal, rules: Rules) -> Outcome:
    """What to do with an update, and what to remember of it."""
    if state.quiet:
        return state, _only_finite(signal)
    after, decision = _ruled(state, signal, rules)
    if rules.raising is not None:
        step, cosine = signal.step, signal.cosine
        climb = (
            raising.fallen(state.climb, step, rules.raising)
            if decision.action == "restore"
            else raising.climbed(state.climb, step, cosine, rule=rules.raising)
        )
        after = replace(after, climb=climb)
    if decision.action in ("restore", "undo") and after.spent >= rules.interventions:
        after = replace(after, quiet=f"all {after.spent} interventions are spent")
    return after, decision


def _only_finite(signal: Signal) -> Decision:
    """What a controller that stopped acting still does: no NaN into the weights."""
    if math.isfinite(signal.norm):
        return GO
    return Decision("skip", why="the gradient is not finite")


def _ruled(state: State, signal: Signal, rules: Rules) -> Outcome:
    """The first rule that has something to say decides."""
    steps: tuple[Callable[[State, Signal, Rules], Outcome | None], ...] = (
        _thawed,
        _judged,
        _skipped,
        _restored,
    )
    for rule in steps:
        outcome = rule(state, signal, rules)
        if outcome is not None:
            return outcome
    return _accepted(state, signal, rules)


# --- the rules, in their order ------------------------------------------------


def _thawed(state: State, signal: Signal, rules: Rules) -> Outcome | None:
    """Frozen moments: back to where they were not, and updates kept short."""
    rule = rules.frozen
    if rule is None or not state.kept:
        return None
    moments = frozen.seen(state.moments, signal.step, signal.noise, rule=rule)
    if not frozen.is_frozen(moments, signal.fade, rule):
        return None
    first = moments.cap is None
    cap, rate = (
        (rule.cap, state.rate) if first else (moments.cap, state.rate * rule.back)
    )
    kept = _older(state, signal.step, rules.divergence)
    back = kept[-1]
    due = 2 * signal.step - back.step + 10
    trial = state.trial or Trial(
        Kept(signal.step, state.trend), state.rate, state.moments.cap, due
    )
    after = replace(
        _back_at(state, back, signal.step),
        kept=kept,
        rate=rate,
        moments=Moments(cap=cap),
        spent=state.spent + 1,
        trial=replace(trial, due=due),
    )
    words = f"updates are capped at {cap:g} of each tensor" if first else "lower rate"
    why = f"the second moment is frozen at an early overshoot; {words}"
    facts = {"moment_ratio": _plain(moments.ratio), "limit": rule.below}
    keep = state.trial is None
    return after, Decision("restore", back.step, keep=keep, why=why, facts=facts)


def _judged(state: State, signal: Signal, rules: Rules) -> Outcome | None:
    """A remedy whose time is up: undone where the loss is not below that before it."""
    trial = state.trial
    if trial is None or signal.step < trial.due:
        return None
    before = trial.before.trend
    if before is None or state.trend is None or state.trend.level <= before.level:
        return _ruled(replace(state, trial=None), signal, rules)
    after = replace(
        _back_at(state, trial.before, signal.step),
        rate=trial.rate,
        moments=Moments(cap=trial.cap, off=True),
        trial=None,
    )
    facts = {"loss": state.trend.level, "loss_before": before.level}
    why = "the remedy did not help: the loss is above that before it"
    return after, Decision("undo", trial.before.step, why=why, facts=facts)


def _skipped(state: State, signal: Signal, rules: Rules) -> Outcome | None:
    """Outliers: the update is not made."""
    first = state.trend.first if state.trend else None
    enough = len(state.norms) >= rules.spikes.least
    if state.row >= rules.spikes.row or not (enough or not signal.finite):
        return None
    if not spikes.is_spike(signal, first, rules.spikes):
        return None
    facts = _facts(signal)
    why = "outlier of the gradient or the loss" if signal.finite else "not finite"
    return replace(state, row=state.row + 1), Decision("skip", why=why, facts=facts)


def _restored(state: State, signal: Signal, rules: Rules) -> Outcome | None:
    """Divergence: back to a good state, with a lower rate."""
    rule = rules.divergence
    trend = _trend(state, signal, rule)
    if not _diverged(state, trend, signal, rule):
        return None
    if not state.kept and signal.finite:
        return None
    if not state.kept or (state.acted is not None and state.moved == 0):
        return _stubborn(state, signal, rules)
    kept = _older(state, signal.step, rule)
    twice = len(kept) < len(state.kept)
    rate = state.rate * rule.back ** (2 if twice else 1)
    back = kept[-1]
    moments = Moments(cap=state.moments.cap, off=state.moments.off)
    after = replace(
        _back_at(state, back, signal.step),
        kept=kept,
        rate=rate,
        moments=moments,
        spent=state.spent + 1,
    )
    facts = {**_facts(signal), "level": _plain(trend.level if trend else None)}
    why = "training diverges: the loss is far above its lowest"
    return after, Decision("restore", back.step, why=why, facts=facts)


def _stubborn(state: State, signal: Signal, rules: Rules) -> Outcome:
    """Bad although the weights are good: the fault is in the data or the loss."""
    row = state.row + 1
    good = state.moved == 0
    why = "bad although the weights are those of a good state" if good else "not finite"
    after = replace(state, row=row)
    if row >= rules.stubborn:
        reason = (
            "although no weight moved: the fault is in the data, the loss or the code, "
            "not in the weights"
            if good
            else "and there is no state to go back to"
        )
        after = replace(after, quiet=f"{row} updates in a row are bad {reason}")
    return after, Decision("skip", why=why, facts=_facts(signal))


def _accepted(state: State, signal: Signal, rules: Rules) -> Outcome:
    """Nothing is wrong: the update is made, and a state kept where one is due."""
    trend = _trend(state, signal, rules.divergence)
    moments = state.moments
    if rules.frozen is not None:
        moments = frozen.seen(moments, signal.step, signal.noise, rule=rules.frozen)
    after = replace(
        state,
        trend=trend,
        norms=spikes.remembered(state.norms, signal, rules.spikes),
        row=0,
        moved=state.moved + 1,
        moments=moments,
    )
    if not _worth_keeping(after, signal, rules):
        return after, GO
    rest = (*after.kept[1:], Kept(signal.step, trend))[-rules.divergence.held :]
    kept = (*after.kept[:1], *rest) if after.kept else rest
    return replace(after, kept=kept), Decision(keep=True)


# --- parts --------------------------------------------------------------------


def _trend(state: State, signal: Signal, rule: Divergence) -> Trend | None:
    if signal.loss is None or not math.isfinite(signal.loss):
        return state.trend
    if state.trend is None:
        return divergence.begun(signal.loss)
    return divergence.followed(state.trend, signal.loss, rule)


def _diverged(
    state: State, trend: Trend | None, signal: Signal, rule: Divergence
) -> bool:
    if not signal.finite:
        return True
    if state.trend is None or trend is None or signal.loss is None:
        return False
    bound = divergence.bound_of(state.trend, rule)
    return trend.level > bound or signal.loss > rule.loss * abs(trend.first)


def _older(state: State, step: int, rule: Divergence) -> tuple[Kept, ...]:
    """The kept states, without the newest where the last restore is near."""
    near = state.acted is not None and step - state.acted < rule.near
    return state.kept[:-1] if near and len(state.kept) > 1 else state.kept


def _back_at(state: State, back: Kept, step: int) -> State:
    """Everything that was learnt from the losses and norms as it was back then."""
    return replace(state, trend=back.trend, norms=(), row=0, acted=step, moved=0)


def _worth_keeping(state: State, signal: Signal, rules: Rules) -> bool:
    """Whether the state before this update is kept."""
    if not rules.keeps or not signal.keepable:
        return False
    if not state.kept:
        return True
    rule = rules.divergence
    waited = state.acted is None or signal.step - state.acted >= rule.every
    due = waited and signal.step - state.kept[-1].step >= rule.every
    quiet = state.trend is None or divergence.calm(state.trend, rule)
    well = rules.frozen is None or frozen.worth_keeping(state.moments, rules.frozen)
    return due and quiet and well


def _facts(signal: Signal) -> dict[str, float]:
    """The numbers of a signal that are known, for an event."""
    known = {"loss": signal.loss, "grad_norm": signal.norm, "limit": signal.limits.skip}
    return {k: _plain(v) for k, v in known.items() if v is not None}


def _plain(value: float | None) -> float:
    """A number that JSON has: what is not finite becomes the largest there is."""
    if value is None:
        return 0.0
    return value if math.isfinite(value) else 1e308
