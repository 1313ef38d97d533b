"""A rescue comes in, plain text for a terminal and JSON values go out."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from surefoot.report.words import change_text, number, sentence
from surefoot.rescue.attempt import Attempt, Measure
from surefoot.rescue.judge import TRAINING_LOSS, end_loss
from surefoot.rescue.rescue import Rescue
from surefoot.rescue.search import Tried


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


def _headline(found: Rescue) -> str:
    if found.cause is None:
        return "✓ Healthy: nothing was found, and nothing was changed."
    where = "" if found.cause.layer == "run" else f" in {found.cause.layer}"
    what = f"{sentence(found.cause.cause)}{where}, since step {found.cause.onset}"
    if found.ending == "repaired" and found.best is not None:
        return f"✓ {what}. Repaired: {found.best.name}."
    if found.ending == "no remedy helped":
        return f"✗ {what}. No remedy helped; nothing is changed."
    return f"✗ {what}. {_why_not(found)}"


def _why_not(found: Rescue) -> str:
    """Why nothing was tried, and what a person can do."""
    advice = [p.advice for p in (found.cause.prescriptions if found.cause else ())]
    said = next((one for one in advice if one), "")
    return (
        "This lies in the code or in the data, where no change of a running training "
        f"reaches; nothing was tried. {said}".rstrip()
    )


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
    changes = "; ".join(change_text(change) for change in one.attempt.plan.changes)
    length = "to the end" if one.attempt.plan.until is None else "a short trial"
    if one.attempt.refused:
        return f"{changes}: does not fit: {one.attempt.refused}"
    return f"{changes}: {_value(one.attempt, measure)} ({length})"


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
