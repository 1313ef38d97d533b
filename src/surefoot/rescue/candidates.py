"""What could be tried: the diagnoses of a run come in, candidates go out.

A candidate is a prescription that can be carried out, and the moment from which it
acts. Where the likeliest cause lies in the code or in the data, there is none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from surefoot.types import Change, Diagnosis, Prescription

ALARMS = ("warning", "critical")
SURE = 0.8
"""Confidence from which a cause that no knob reaches stands alone: below it the zoo's
diagnoses name the wrong cause first about as often as the right one."""

BEHIND = 0.55
"""A cause this much less likely than the first is not acted on."""

FROM_THE_START = ("init", "activation", "norm", "skip")
"""Knobs that rebuild the network: they come before its first update."""

BEFORE_THE_ONSET = ("lr", "warmup_steps")
"""Knobs that make the whole training slower: they come just before the trouble."""

AFTER_THE_ONSET = ("units", "moments")
"""Knobs that mend what is broken already."""

EARLY = 0.25
"""Share of the run within which trouble is one of the start: a rate that is too high
does its harm at the end of a warm-up."""

LEAD, LEAST_LEAD = 0.02, 5
"""Steps before an onset, as a share of the run and at least: a symptom is seen a few
steps after what made it."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A prescription, the cause that it is for, and from which update on it acts."""

    prescription: Prescription
    cause: str
    at: int = 0
    onset: int = 0


def alarming(diagnoses: Sequence[Diagnosis]) -> tuple[Diagnosis, ...]:
    """Diagnoses that rest on an alarm: a run without one is healthy."""
    return tuple(
        one
        for one in diagnoses
        if any(finding.severity in ALARMS for finding in one.findings)
    )


def out_of_reach(diagnoses: Sequence[Diagnosis]) -> Diagnosis | None:
    """The likeliest cause, if it is sure and no change of a running training mends it.

    None otherwise.
    """
    if not diagnoses:
        return None
    first = diagnoses[0]
    reached = any(one.changes for one in first.prescriptions)
    return None if reached or first.confidence < SURE else first


def candidates(diagnoses: Sequence[Diagnosis], steps: int) -> tuple[Candidate, ...]:
    """Prescriptions that can be carried out, the likeliest cause's first.

    Those with the same changes come once. `steps` is the length of the run.
    """
    if not diagnoses or out_of_reach(diagnoses) is not None:
        return ()
    least = diagnoses[0].confidence - BEHIND
    found: dict[tuple[Change, ...], Candidate] = {}
    for one in diagnoses:
        for prescription in one.prescriptions if one.confidence >= least else ():
            if prescription.changes and prescription.changes not in found:
                at = moment(prescription.changes, one.onset, steps)
                found[prescription.changes] = Candidate(
                    prescription, one.cause, at, one.onset
                )
    return tuple(found.values())


def moment(changes: Sequence[Change], onset: int, steps: int) -> int:
    """The update from which changes are carried out, for trouble seen at `onset`.

    >>> moment([Change("lr", "scale", 0.1)], 50, 100)
    45
    >>> moment([Change("init", "set", "kaiming_normal")], 50, 100)
    0
    """
    knobs = {change.knob for change in changes}
    lead = max(LEAST_LEAD, round(LEAD * steps))
    if onset <= EARLY * steps or knobs & set(FROM_THE_START):
        return 0
    if knobs & set(AFTER_THE_ONSET):
        return onset + lead
    if knobs & set(BEFORE_THE_ONSET):
        return max(0, onset - lead)
    return 0
