"""Values come in, words and short numbers for people go out."""

from __future__ import annotations

from surefoot.types import Change, Diagnosis, Severity, Technique
from surefoot.wording import (
    change_told,
    clean,
    counted,
    distance,
    headline_told,
    number,
    sentence,
    spaced,
    worst_of,
)

__all__ = [
    "change_text",
    "clean",
    "counted",
    "distance",
    "headline",
    "number",
    "sentence",
    "severity_of",
    "spaced",
    "technique_text",
]


def headline(diagnosis: Diagnosis) -> str:
    """Cause, place and onset in one line."""
    return headline_told(diagnosis)


def severity_of(diagnosis: Diagnosis) -> Severity:
    """The worst severity among the findings."""
    return worst_of(diagnosis)


def technique_text(technique: Technique) -> str:
    """A technique in use, where it works and with which numbers.

    >>> technique_text(Technique("weights", "spectral norm", ("0", "3")))
    'spectral norm in 2 modules'
    >>> technique_text(Technique("schedule", "warm-up", (), {"steps": 100.0}))
    'warm-up (steps 100)'
    """
    count = len(technique.where)
    places = f" in {counted(count, 'module')}" if count else ""
    told = ", ".join(f"{spaced(k)} {v:g}" for k, v in technique.settings.items())
    return clean(f"{technique.name}{places}") + (f" ({told})" if told else "")


def change_text(change: Change) -> str:
    """One change in words.

    >>> change_text(Change("lr", "scale", 0.5))
    'lr × 0.5'
    """
    return change_told(change)
