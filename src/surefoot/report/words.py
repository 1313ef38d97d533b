"""Values come in, words and short numbers for people go out."""

from __future__ import annotations

import math
import re

from surefoot.types import Change, Diagnosis, Severity

_ORDER: tuple[Severity, ...] = ("critical", "warning", "info")
_CONTROL = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f"
    r"\u200e\u200f\u2028-\u202e\u2066-\u2069"  # turn the direction, end a line
    r"\ud800-\udfff]"  # half of a character: no encoding has it
)


def number(value: float) -> str:
    """Three significant digits; powers of ten outside 0.001 to 100,000.

    >>> number(3.14159e-9), number(12345), number(0.25), number(math.nan)
    ('3.14e-09', '12,345', '0.25', 'nan')
    """
    if not math.isfinite(value):
        return str(float(value))
    size = abs(value)
    if size >= 1e5 or 0 < size < 1e-3:
        return f"{value:.3g}"
    return f"{value:,.0f}" if size >= 1000 else f"{value:.3g}"


def distance(observed: float, bound: float) -> str:
    """How far an observed value lies from its bound; "" where that says nothing.

    >>> distance(2e-9, 1e-5), distance(7.0, 5.0)
    ('5,000 times below', '40% above')
    """
    if not (math.isfinite(observed) and math.isfinite(bound)) or observed == bound:
        return ""
    side = "above" if observed > bound else "below"
    if observed <= 0 or bound <= 0:
        return side
    ratio = max(observed / bound, bound / observed)
    if ratio < 2:
        return f"{abs(observed / bound - 1):.0%} {side}"
    return f"{number(float(f'{ratio:.2g}'))} times {side}"


def counted(count: int, noun: str) -> str:
    """A number and its noun.

    >>> counted(1, "seed"), counted(1200, "step")
    ('1 seed', '1,200 steps')
    """
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def clean(text: str) -> str:
    r"""Text of a record without what could steer a terminal or turn its direction.

    >>> clean("net.0\x1b[31m")
    'net.0�[31m'
    """
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)


def spaced(name: str) -> str:
    """A name with its underscores as spaces."""
    words = name.replace("_", " ")
    return "non-finite value" if words == "nonfinite" else words


def sentence(name: str) -> str:
    """A name as the beginning of a sentence."""
    words = spaced(name)
    return words[:1].upper() + words[1:]


def headline(diagnosis: Diagnosis) -> str:
    """Cause, place and onset in one line."""
    place = "the whole run" if diagnosis.layer == "run" else diagnosis.layer
    return f"{sentence(diagnosis.cause)} in {place}, since step {diagnosis.onset:,}"


def severity_of(diagnosis: Diagnosis) -> Severity:
    """The worst severity among the findings."""
    found = {finding.severity for finding in diagnosis.findings}
    for one in _ORDER:
        if one in found:
            return one
    return "warning"


def change_text(change: Change) -> str:
    """One change in words.

    >>> change_text(Change("lr", "scale", 0.5))
    'lr × 0.5'
    """
    amount = (
        number(change.amount)
        if isinstance(change.amount, int | float)
        else change.amount
    )
    signs = {"scale": " × ", "set": " → ", "add": " + "}
    sign = signs.get(change.op, f" {spaced(change.op)} ")
    where = f" in {', '.join(change.layers)}" if change.layers else ""
    return f"{spaced(change.knob)}{sign}{amount}{where}"
