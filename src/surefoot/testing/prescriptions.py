"""Conformance of a prescription: it comes in, a failure is an AssertionError."""

from __future__ import annotations

import json
import math
from dataclasses import asdict

from surefoot.autopilot.apply import KNOBS, changes_from
from surefoot.testing.claims import Attempt, require
from surefoot.types import Prescription


def check_prescription(prescription: Prescription) -> None:
    """See that a prescription can be carried out or followed, and says who says so.

    Its remedy, what to expect and its source are told. Each change has a knob and
    an operation of `autopilot.apply.KNOBS`, an amount that is a finite number or a
    word, and survives the way through JSON; without changes there is advice.

    Raises:
        AssertionError: one of this does not hold.

    >>> from surefoot.types import Change
    >>> check_prescription(
    ...     Prescription(
    ...         remedy="halve the learning rate",
    ...         changes=(Change("lr", "scale", 0.5),),
    ...         expect="the loss falls without jumping",
    ...         source="Bengio 2012, arXiv:1206.5533",
    ...     )
    ... )
    """
    where = f"prescription {prescription.remedy!r}"
    require(prescription.remedy.strip(), "a prescription came without a remedy's name")
    for field in ("expect", "source"):
        require(
            getattr(prescription, field).strip(),
            f"{where} came with an empty {field!r}; expected a sentence",
        )
    require(
        prescription.changes or prescription.advice.strip(),
        f"{where} came without changes and without advice; expected one of them",
    )
    known = {(knob, op) for knob, op, _ in KNOBS}
    for change in prescription.changes:
        require(
            (change.knob, change.op) in known,
            f"{where} came with the change {change.knob} {change.op}; expected one of "
            f"{sorted(known)}; put what only a person can do into `advice`",
        )
        amount = change.amount
        require(
            bool(amount) if isinstance(amount, str) else math.isfinite(amount),
            f"{where} came with {change.knob} {change.op} {amount!r}; expected a "
            "finite number or a word",
        )
    with Attempt(f"{where}, its changes as JSON"):
        text = json.dumps([asdict(change) for change in prescription.changes])
        same = changes_from(text) == prescription.changes
    require(
        same,
        f"{where}: its changes are not the same after JSON; expected an amount that "
        "is a Python number or text, and a tuple of layer names",
    )
