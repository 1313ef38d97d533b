"""What could be tried: the diagnoses of a run come in, candidates go out.

A candidate is a prescription that can be carried out, and the moment from which it
acts. Where the likeliest cause lies in the code or in the data, there is none.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

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


WARM_UP = 0.1
"""Share of the run that a warm-up may take, as in Devlin et al. 2019 (arXiv:1810.04805)
and Mosbach et al. 2021; a prescription does not know how long the run is."""

LEAST_WARM_UP = 10

FAR = 10.0
"""A rate that is to be moved by more than this factor is tried half of the way too, in
decades: the ratio it rests on was measured in a run that was broken already."""

STEPS_OF_RATE = (0.25, 4.0)
"""Factors by which the rate of a run without an alarm is moved first."""


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
            fits = fitted(prescription, steps)
            at = moment(fits.changes, one.onset, steps)
            for each in (fits, *([] if at else halfway(fits))):
                if each.changes and each.changes not in found:
                    found[each.changes] = Candidate(each, one.cause, at, one.onset)
    return tuple(found.values())


def halfway(prescription: Prescription) -> list[Prescription]:
    """The same with half of a far move of the rate, in decades; none for other moves.

    >>> far = Prescription("slower", (Change("lr", "scale", 0.0025),), "", "")
    >>> halfway(far)[0].changes[0].amount
    0.05
    """
    if len(prescription.changes) != 1:
        return []
    (change,) = prescription.changes
    if (change.knob, change.op) != ("lr", "scale"):
        return []
    by = float(change.amount)
    if 1 / FAR <= by <= FAR:
        return []
    nearer = replace(change, amount=float(f"{math.sqrt(by):.2g}"))
    return [replace(prescription, changes=(nearer,))]


def unasked(steps: int) -> tuple[Candidate, ...]:
    """What is tried where nothing alarms: the step size, which fails unseen most often.

    >>> [one.prescription.remedy for one in unasked(100)]
    ['learning rate × 0.25', 'learning rate × 4', 'warm up the learning rate']
    """
    source = "no alarm: only the held-out number speaks for it"
    rates = [
        Prescription(
            f"learning rate × {by:g}", (Change("lr", "scale", by),), "", source
        )
        for by in STEPS_OF_RATE
    ]
    warm = Change("warmup_steps", "set", float(steps))
    slowly = Prescription("warm up the learning rate", (warm,), "", source)
    return tuple(Candidate(one, "") for one in (*rates, fitted(slowly, steps)))


def fitted(prescription: Prescription, steps: int) -> Prescription:
    """A prescription whose warm-up fits a run of so many steps."""
    most = float(max(LEAST_WARM_UP, round(WARM_UP * steps)))

    def fit(change: Change) -> Change:
        if change.knob != "warmup_steps" or float(change.amount) <= most:
            return change
        return replace(change, amount=most)

    return replace(prescription, changes=tuple(map(fit, prescription.changes)))


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
