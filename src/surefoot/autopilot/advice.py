"""A diagnosis comes in; what the autopilot would do goes out, as plain data."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from surefoot.autopilot.apply import KNOBS
from surefoot.types import Diagnosis, Prescription

AT_THE_START = ("activation", "init", "norm", "skip")
"""Knobs that change what a model is: in the midst of a run that would throw away what
it has learned. `surefoot rescue` starts again with them."""


def carried_out(prescription: Prescription) -> bool:
    """Whether a prescription can be carried out at all, here or at a new start."""
    known = {(knob, op) for knob, op, _ in KNOBS}
    asked = {(change.knob, change.op) for change in prescription.changes}
    return bool(asked) and asked <= known


def live_remedy(diagnosis: Diagnosis) -> Prescription | None:
    """The first prescription that can be carried out while the run goes on."""
    for one in diagnosis.prescriptions:
        restarts = any(change.knob in AT_THE_START for change in one.changes)
        if carried_out(one) and not restarts:
            return one
    return None


def advice(diagnosis: Diagnosis) -> dict[str, Any] | None:
    """The body of an "advice" event: the first prescription, and where it works.

    One that can be carried out while the run goes on comes before one that cannot;
    None where nothing is prescribed.
    """
    chosen = live_remedy(diagnosis)
    where = "live"
    if chosen is None:
        chosen = next(iter(diagnosis.prescriptions), None)
        if chosen is None:
            return None
        where = "at a new start" if carried_out(chosen) else "by hand"
    return {
        "cause": diagnosis.cause,
        "layer": diagnosis.layer,
        "stream": diagnosis.stream,
        "remedy": chosen.remedy,
        "changes": [asdict(change) for change in chosen.changes],
        "advice": chosen.advice,
        "where": where,
    }
