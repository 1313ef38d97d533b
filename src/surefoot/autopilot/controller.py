"""A state and a signal come in, the next state and a decision go out.

All that the autopilot decides by itself is decided here, by numbers alone: no model,
no clock, no randomness. The same signals give the same decisions on every rank.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

from surefoot.autopilot import answers, raising, spikes
from surefoot.autopilot.flight import GO, Decision, Outcome, Rules, State
from surefoot.autopilot.signal import Limits, Signal
from surefoot.autopilot.warming import warmth

Rule = Callable[[State, Signal, Rules], Outcome | None]


def limits_for(state: State, rules: Rules) -> Limits:
    """The limits of the next gradient."""
    if state.quiet:
        return Limits()
    return spikes.limits_of(state.norms, state.row, rules.spikes)


def decide(state: State, signal: Signal, rules: Rules) -> Outcome:
    """What to do with an update, and what to remember of it."""
    if state.quiet:
        return state, _only_finite(signal)
    if signal.late and state.row > 0:
        # The loss of the update that was skipped says nothing about the weights.
        signal = replace(signal, loss=None)
    after, decision = _ruled(answers.settled(state, signal), signal, rules)
    if rules.raising is not None and decision.action != "restore":
        # Gradients with those before in them agree, whatever the rate.
        step, cosine = signal.step, None if signal.piled else signal.cosine
        climb = raising.climbed(
            after.climb,
            step,
            cosine,
            rule=rules.raising,
            fade=signal.fade,
            adaptive=signal.noise is not None,
        )
        after = replace(after, climb=climb)
    if rules.warming is not None:
        warm = 1.0 if after.acted is None else warmth(after.moved, rules.warming)
        after = replace(after, warmth=warm)
    if decision.action in ("restore", "undo") and after.spent >= rules.interventions:
        after = replace(after, quiet=f"all {after.spent} interventions are spent")
    if after.quiet:
        after = replace(after, warmth=1.0)  # nobody is left to end a warm-up
    return after, decision


def _only_finite(signal: Signal) -> Decision:
    """What a controller that stopped acting still does: no NaN into the weights."""
    if math.isfinite(signal.norm):
        return GO
    return Decision("skip", why="the gradient is not finite")


def _ruled(state: State, signal: Signal, rules: Rules) -> Outcome:
    """The first rule that has something to say decides."""
    # A loss that comes late is of an update that was made: it is heard before another
    # is skipped. One that comes in time may be that of the outlier.
    late = signal.late and signal.finite
    last: tuple[Rule, ...] = (answers.skipped, answers.restored)
    first = (answers.piled, answers.thawed, answers.judged, answers.unmoved)
    steps = (*first, *(reversed(last) if late else last))
    for rule in steps:
        outcome = rule(state, signal, rules)
        if outcome is not None:
            return outcome
    return answers.accepted(state, signal, rules)
