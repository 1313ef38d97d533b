"""The controller's answers: a state and a signal come in, an outcome goes out.

None goes out where a rule has nothing to say.
"""

from __future__ import annotations

import math
from dataclasses import replace
from statistics import median_high

from surefoot.autopilot import divergence, frozen, raising, spikes
from surefoot.autopilot.divergence import Divergence, Trend
from surefoot.autopilot.flight import GO, Decision, Kept, Outcome, Rules, State, Trial
from surefoot.autopilot.frozen import Moments
from surefoot.autopilot.raising import Climb
from surefoot.autopilot.signal import Signal

SOON = 5
"""Updates since a restore from which on losses that were all high tell something."""

# --- the rules, in their order ------------------------------------------------


def piled(state: State, signal: Signal, rules: Rules) -> Outcome | None:
    """Gradients that nobody sets to zero: a fault of the script, and said so."""
    if not signal.piled or state.piled + 1 < rules.piled or not signal.finite:
        return None
    why = (
        "the gradient of each update has those before it in it (is zero_grad() "
        "missing?): the fault is in the code, not in the weights"
    )
    return _given_up(state, why), GO


def thawed(state: State, signal: Signal, rules: Rules) -> Outcome | None:
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
    early = signal.step < rule.early
    kept = state.kept[:1] if early else _older(state, signal.step, rules.divergence)
    back = kept[-1]
    # Judged when what it cost is made up for, and it had its window.
    due = signal.step + max(rules.window, signal.step - back.step + 10)
    trial = state.trial or Trial(
        Kept(signal.step, state.trend), state.rate, state.moments.cap, due
    )
    after = replace(
        _back_at(state, back, signal.step, rules.divergence),
        kept=kept,
        rate=rate,
        moments=Moments(cap=cap),
        spent=state.spent + 1,
        trial=replace(trial, due=due),
        climb=_fallen(state, signal.step, rules),
    )
    words = f"updates are capped at {cap:g} of each tensor" if first else "lower rate"
    why = f"the second moment is frozen at an early overshoot; {words}"
    facts = {"moment_ratio": _plain(moments.ratio), "limit": rule.below}
    keep = state.trial is None
    return after, Decision("restore", back.step, keep=keep, why=why, facts=facts)


def settled(state: State, signal: Signal) -> State:
    """Without the remedy on trial, where its time is up and it helped."""
    trial, now = state.trial, state.trend
    before = trial.before.trend if trial else None
    over = trial is not None and signal.step >= trial.due
    helped = before is None or now is None or now.level <= before.level
    return replace(state, trial=None) if over and helped else state


def judged(state: State, signal: Signal, rules: Rules) -> Outcome | None:
    """A remedy whose time is up: undone where the loss is not below that before it."""
    trial, now = state.trial, state.trend
    before = trial.before.trend if trial else None
    if trial is None or signal.step < trial.due or before is None or now is None:
        return None
    after = replace(
        _back_at(state, trial.before, signal.step, rules.divergence),
        rate=trial.rate,
        moments=Moments(cap=trial.cap, off=True),
        trial=None,
    )
    facts = {"loss": now.level, "loss_before": before.level}
    why = "the remedy did not help: the loss is above that before it"
    return after, Decision("undo", trial.before.step, why=why, facts=facts)


def unmoved(state: State, signal: Signal, rules: Rules) -> Outcome | None:
    """A gradient far too long on weights where it was not: no fault of theirs."""
    if state.acted is None or state.moved > 0 or not state.norms:
        return None
    limit = rules.spikes.early * median_high(state.norms)
    if math.isfinite(signal.norm) and signal.norm > limit:
        return _stubborn(state, signal, rules)
    return None


def skipped(state: State, signal: Signal, rules: Rules) -> Outcome | None:
    """Outliers: the update is not made."""
    first = state.trend.first if state.trend else None
    most = rules.spikes.row if signal.finite else rules.spikes.bad
    if state.row >= most or not state.norms:
        return None
    if not spikes.is_spike(signal, first, rules.spikes):
        return None
    facts = _facts(signal)
    why = "outlier of the gradient or the loss" if signal.finite else "not finite"
    trend = _trend(state, signal, rules.divergence) if signal.late else state.trend
    after = replace(state, row=state.row + 1, trend=trend)
    return after, Decision("skip", why=why, facts=facts)


def restored(state: State, signal: Signal, rules: Rules) -> Outcome | None:
    """Divergence: back to a good state, with a lower rate."""
    rule = rules.divergence
    trend = _trend(state, signal, rule)
    alarm = _diverged(state, trend, signal, rule)
    above, high = _above(state, trend, signal, rule), _high(state, signal)
    if not alarm or (alarm == "level" and rule.row > 1 and above < rule.row):
        return None
    if not state.kept and signal.finite:
        return None
    if not state.kept or (state.acted is not None and state.moved == 0):
        return _stubborn(state, signal, rules)
    if state.acted is not None and high >= state.moved >= SOON:
        why = (
            "the loss was too high from the first update on that was made from a good "
            "state: the fault is in the data, the loss or the code, not in the weights"
        )
        return _given_up(state, why), GO
    kept = _older(state, signal.step, rule)
    climb = _fallen(state, signal.step, rules)
    soon = state.moved <= rule.soon
    rate = state.rate * (rule.back_soon if soon else rule.back)
    if rules.raising is not None:
        # What was raised counts as the rate that failed: it may come back in part.
        rate *= state.climb.factor
        regrow = rules.raising.regrow_soon if soon else rules.raising.regrow
        climb = replace(climb, factor=1.0, ceiling=regrow)
    back = kept[-1]
    moments = Moments(cap=state.moments.cap, off=state.moments.off)
    after = replace(
        _back_at(state, back, signal.step, rule),
        kept=kept,
        rate=rate,
        moments=moments,
        spent=state.spent + 1,
        climb=climb,
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
            "although no weight moved: the fault is in the data, the loss or the code "
            "(are gradients set to zero?), not in the weights"
            if good
            else "and there is no state to go back to"
        )
        why_not = f"{row} updates in a row are bad {reason}"
        after = _given_up(after, why_not) if good else replace(after, quiet=why_not)
    return after, Decision("skip", why=why, facts=_facts(signal))


def _given_up(state: State, why: str) -> State:
    """Nothing is done any more, and what was done, which could not help, is undone."""
    still = Moments(off=True)
    return replace(state, quiet=why, rate=1.0, climb=Climb(), moments=still, trial=None)


def accepted(state: State, signal: Signal, rules: Rules) -> Outcome:
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
        above=_above(state, trend, signal, rules.divergence),
        high=_high(state, signal),
        piled=state.piled + 1 if signal.piled else 0,
        moved=state.moved + 1,
        moments=moments,
    )
    if not _worth_keeping(after, signal, rules):
        return after, GO
    here = Kept(signal.step, trend, after.norms)
    rest = (*after.kept[1:], here)[-rules.divergence.held :]
    kept = (*after.kept[:1], *rest) if after.kept else rest
    return replace(after, kept=kept), Decision(keep=True)


# --- parts --------------------------------------------------------------------


def _fallen(state: State, step: int, rules: Rules) -> Climb:
    """How far the rate stays raised after an alarm."""
    rule = rules.raising
    return state.climb if rule is None else raising.fallen(state.climb, step, rule)


def _trend(state: State, signal: Signal, rule: Divergence) -> Trend | None:
    if signal.loss is None or not math.isfinite(signal.loss):
        return state.trend
    if state.trend is None:
        return divergence.begun(signal.loss)
    return divergence.followed(state.trend, signal.loss, rule)


def _diverged(
    state: State, trend: Trend | None, signal: Signal, rule: Divergence
) -> str:
    """What says that training diverges: "nonfinite", "loss", "level", or nothing."""
    if not signal.finite:
        return "nonfinite"
    if state.trend is None or trend is None or signal.loss is None:
        return ""
    if rule.loss is not None and signal.loss > rule.loss * abs(trend.first):
        return "loss"
    return "level" if trend.level > divergence.bound_of(state.trend, rule) else ""


def _above(state: State, trend: Trend | None, signal: Signal, rule: Divergence) -> int:
    """How long the smoothed loss has been above the bound, and most losses with it."""
    if signal.loss is None or state.trend is None:
        return state.above
    if not _diverged(state, trend, signal, rule):
        return 0
    high = not signal.loss <= divergence.bound_of(state.trend, rule)
    return max(0, state.above + (1 if high else -1))


def _high(state: State, signal: Signal) -> int:
    """Losses in a row that are too high for the state that was put back."""
    if signal.loss is None or state.good is None:
        return state.high
    return 0 if signal.loss <= state.good else state.high + 1


def _older(state: State, step: int, rule: Divergence) -> tuple[Kept, ...]:
    """The kept states, without the newest where the last restore is near."""
    near = state.acted is not None and step - state.acted < rule.near
    return state.kept[:-1] if near and len(state.kept) > 1 else state.kept


def _back_at(state: State, back: Kept, step: int, rule: Divergence) -> State:
    """Everything that was learnt from the losses and norms as it was back then."""
    bound = divergence.bound_of(back.trend, rule) if back.trend else math.inf
    return replace(
        state,
        trend=back.trend,
        norms=back.norms,
        row=0,
        above=0,
        good=bound if math.isfinite(bound) else None,
        high=0,
        acted=step,
        moved=0,
    )


def _worth_keeping(state: State, signal: Signal, rules: Rules) -> bool:
    """Whether the state before this update is kept."""
    if not rules.keeps or not signal.keepable:
        return False
    if not state.kept:
        return True
    rule = rules.divergence
    waited = state.acted is None or signal.step - state.acted >= rule.every
    spacing = divergence.spacing(signal.step, rule)
    due = waited and signal.step - state.kept[-1].step >= spacing
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
