"""From findings to causes: findings and facts come in, ranked diagnoses go out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from surefoot.diagnosis import origin
from surefoot.diagnosis.case import Account, Case, Cause
from surefoot.diagnosis.causes import ALL, page
from surefoot.diagnosis.phase import in_order, phase_of
from surefoot.remedies.prescribe import prescribe
from surefoot.types import Diagnosis, Event, Facts, Finding


def diagnose(
    findings: Sequence[Finding],
    facts: Facts,
    events: Sequence[Event] = (),
    *,
    traits: Mapping[str, float] | None = None,
) -> list[Diagnosis]:
    """The causes that explain the alarms among the findings, likeliest first.

    Findings of severity "info" alone give no diagnosis; they count as corroboration.
    A cause that a single signal speaks for is not `confirmed`. `traits` come from
    `signatures.traits`; the order of the remedies follows the phase of the run.
    """
    known = dict(traits or {})
    case = Case(tuple(findings), facts, tuple(events), known)
    weighed = [(cause, cause.weigh(case)) for cause in ALL]
    held = [(cause, own) for cause, own in weighed if own is not None]
    if len(held) > 1:
        held = [(cause, own) for cause, own in held if cause.name != "unknown"]
    held.sort(key=lambda pair: -pair[1].confidence)
    return [_diagnosis(cause, own, facts, known) for cause, own in held]


def _diagnosis(
    cause: Cause, own: Account, facts: Facts, traits: Mapping[str, float]
) -> Diagnosis:
    """One cause with its place, its time and its remedies."""
    onset = origin.onset(own.findings) if own.onset is None else own.onset
    phase = phase_of(onset, int(traits.get("steps", 0)))
    signals = {finding.signature for finding in own.findings}
    confirmed = len(signals) > 1 if own.confirmed is None else own.confirmed
    return Diagnosis(
        cause=cause.name,
        about=cause.about,
        layer=own.layer or origin.layer(own.findings, facts),
        onset=onset,
        confidence=own.confidence,
        findings=own.findings,
        prescriptions=prescribe(in_order(cause.remedies, phase), own.findings, facts),
        confirmed=confirmed,
        phase=phase,
        told_apart=cause.told_apart,
        page=page(cause.name),
        stream=facts.stream,
    )
