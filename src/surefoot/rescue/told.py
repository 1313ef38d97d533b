"""A rescue comes in; plain text, JSON values and what the page shows go out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

from surefoot.record.rescues import RescueAttempt, Rescued
from surefoot.report.words import change_text, number, sentence
from surefoot.rescue.attempt import Attempt, Measure
from surefoot.rescue.judge import TRAINING_LOSS, end_loss
from surefoot.rescue.rescue import Rescue
from surefoot.rescue.search import Tried
from surefoot.types import Change, Diagnosis

NAMED_LAYERS = 3
"""Layers that a line of a list names; of more it says how many there are."""

MOST_LOSSES = 200
"""Losses of an attempt on the page: its picture is 150 pixels wide."""


def rescue_text(found: Rescue) -> str:
    """What was wrong, what was tried, what was changed and what it bought."""
    lines = [_headline(found), ""]
    lines += _beside(found)
    if found.tried:
        lines += ["", "  what was tried:"]
        lines += [f"    {_tried(one, found.measure)}" for one in found.tried]
        lines.append(f"  spent: {found.spent:.2g} × the run itself")
    return "\n".join(lines)


def rescue_json(found: Rescue) -> dict[str, Any]:
    """The same as JSON values."""
    cause = found.cause
    return {
        "ending": found.ending,
        "cause": None if cause is None else cause.cause,
        "layer": None if cause is None else cause.layer,
        "measure": asdict(found.measure),
        "do_nothing": _number_of(found.first, found.measure),
        "repaired": found.best and _number_of(found.best.attempt, found.measure),
        "gain": found.gain,
        "spent": found.spent,
        "remedy": found.best and found.best.name,
        "changes": [asdict(one) for one in _changes(found)],
        "changes_at": 0 if found.best is None else found.best.attempt.plan.at,
        "tried": [_row(one, found.measure) for one in found.tried],
        "records": [
            str(one)
            for one in (found.first.record, found.best and found.best.attempt.record)
            if one
        ],
    }


def rescue_told(found: Rescue) -> Rescued:
    """The same for the page, the run that was left alone first."""
    alone = _attempt_told(found.first, found, 1.0)
    tried = [_attempt_told(one.attempt, found, one.cost) for one in found.tried]
    return Rescued(_headline(found), found.measure.name, (alone, *tried), found.spent)


def _attempt_told(attempt: Attempt, found: Rescue, share: float) -> RescueAttempt:
    value = _number_of(attempt, found.measure)
    chosen = found.best is not None and attempt is found.best.attempt
    words = change_text if chosen else _briefly
    return RescueAttempt(
        changes=tuple(map(words, attempt.plan.changes)),
        value=math.nan if value is None else value,
        losses=thinned(attempt.losses),
        share=share,
        chosen=chosen,
        detail=attempt.refused or attempt.failed,
    )


def thinned(losses: Sequence[float]) -> tuple[float, ...]:
    """At most so many losses as a picture shows, the last one among them.

    >>> thinned(range(1000))[:3], len(thinned(range(1000))), thinned(range(1000))[-1]
    ((4, 9, 14), 200, 999)
    """
    apart = max(1, math.ceil(len(losses) / MOST_LOSSES))
    return tuple(losses[::-1][::apart][::-1])


def _headline(found: Rescue) -> str:
    if found.cause is None:
        return _without_alarm(found)
    where = "" if found.cause.layer == "run" else f" in {found.cause.layer}"
    what = f"{sentence(found.cause.cause)}{where}, since step {found.cause.onset}"
    if found.ending == "repaired" and found.best is not None:
        return f"✓ {what}. Repaired: {found.best.name}."
    why = (
        "No remedy helped; nothing is changed."
        if found.ending == "no remedy helped"
        else "This lies in the code or in the data, where no change of a running "
        "training reaches; nothing was tried."
    )
    return f"✗ {what}. {why} {_by_hand(found.cause)}".rstrip()


def _without_alarm(found: Rescue) -> str:
    """What is said of a run that raised no alarm."""
    if found.best is not None:
        return f"✓ No alarm was raised, but this is better: {found.best.name}."
    if found.tried:
        return (
            "✓ Healthy: no alarm was raised, and no other step size was better by more "
            "than chance; nothing was changed."
        )
    return "✓ Healthy: nothing was found, and nothing was changed."


def _by_hand(cause: Diagnosis) -> str:
    """What the cause is, and what a person can do about it."""
    advice = next((p.advice for p in cause.prescriptions if p.advice), "")
    return " ".join(part for part in (cause.about, advice) if part)


def _beside(found: Rescue) -> list[str]:
    """The do-nothing branch, and the repaired one beside it."""
    name = found.measure.name
    note = " (no held-out number was printed)" if name == TRAINING_LOSS else ""
    lines = [f"  {name}{note}"]
    lines.append(f"    left alone  {_value(found.first, found.measure)}")
    if found.best is not None:
        attempt = found.best.attempt
        lines.append(
            f"    repaired    {_value(attempt, found.measure)}   {found.gain:+.3g}"
        )
        lines += ["", "  what was changed:"]
        from_step = f" from step {attempt.plan.at} on" if attempt.plan.at else ""
        lines += [f"    {change_text(one)}{from_step}" for one in attempt.plan.changes]
    return lines


def _tried(one: Tried, measure: Measure) -> str:
    changes = "; ".join(map(_briefly, one.attempt.plan.changes))
    length = "to the end" if one.attempt.plan.until is None else "a short trial"
    if one.attempt.refused:
        return f"{changes}: does not fit: {one.attempt.refused}"
    return f"{changes}: {_value(one.attempt, measure)} ({length})"


def _briefly(change: Change) -> str:
    """A change without its layers, where they are too many for a line of a list.

    >>> _briefly(Change("activation", "replace", "relu", ("1", "3", "5", "7")))
    'activation replace relu in 4 layers'
    """
    count = len(change.layers)
    if count <= NAMED_LAYERS:
        return change_text(change)
    return f"{change_text(replace(change, layers=()))} in {count} layers"


def _row(one: Tried, measure: Measure) -> dict[str, Any]:
    plan = one.attempt.plan
    return {
        "remedy": one.name,
        "cause": one.cause,
        "changes": [asdict(change) for change in plan.changes],
        "at": plan.at,
        "until": plan.until,
        "value": _number_of(one.attempt, measure),
        "refused": one.attempt.refused,
        "failed": one.attempt.failed,
        "cost": one.cost,
    }


def _changes(found: Rescue) -> Any:
    return () if found.best is None else found.best.attempt.plan.changes


def _number_of(attempt: Attempt, measure: Measure) -> float | None:
    """The number of an attempt: the held-out one, or the loss where there is none."""
    if measure.name == TRAINING_LOSS:
        return end_loss(attempt.losses)
    return attempt.metric


def _value(attempt: Attempt, measure: Measure) -> str:
    value = _number_of(attempt, measure)
    if value is None:
        return f"training loss {number(end_loss(attempt.losses))}"
    return number(value)
