"""What a rule of preflight is: nothing comes in, one frozen class goes out."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rule:
    """One thing that can be wrong before the first update.

    `about` says what it is and does, `told` how it is seen, `advice` what to do.
    """

    id: str
    name: str
    title: str
    about: str
    told: str
    advice: str
    source: str = ""
