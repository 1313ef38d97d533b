"""Values come in, words and short numbers for people go out."""

from __future__ import annotations

from surefoot.types import Change, Diagnosis, Severity
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
]


def headline(diagnosis: Diagnosis) -> str:
    """Cause, place and onset in one line."""
    return headline_told(diagnosis)


def severity_of(diagnosis: Diagnosis) -> Severity:
    """The worst severity among the findings."""
    return worst_of(diagnosis)


def change_text(change: Change) -> str:
    """One change in words.

    >>> change_text(Change("lr", "scale", 0.5))
    'lr × 0.5'
    """
    return change_told(change)
