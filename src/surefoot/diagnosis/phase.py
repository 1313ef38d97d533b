"""When something began: steps come in, a phase and an order of remedies go out.

The same symptom calls for other remedies early and late: a network that has trained
well for hours is not given other weights to start from.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

Phase = Literal["", "early", "middle", "late"]

EARLY_STEPS = 30
EARLY_SHARE = 0.1
LATE_SHARE = 0.7
"""Shares of the steps made so far. A tenth is the usual length of a warm-up (Goyal et
al. 2017; Vaswani et al. 2017); what begins in the last third has little time left."""

OF_THE_START = ("kaiming", "rescale", "relu and kaiming", "layer norm", "warm-up",
                "pre-norm", "gelu")  # fmt: skip
"""Remedies that change how a run begins: first when it begins badly, last later on."""


def phase_of(onset: int, steps: int) -> Phase:
    """The phase of a step in a run of `steps` so far; "" where that is unknown.

    >>> phase_of(3, 1000), phase_of(500, 1000), phase_of(900, 1000)
    ('early', 'middle', 'late')
    """
    if steps <= 0:
        return ""
    if onset < max(EARLY_STEPS, EARLY_SHARE * steps):
        return "early"
    return "late" if onset > LATE_SHARE * steps else "middle"


def in_order(remedies: Sequence[str], phase: Phase) -> tuple[str, ...]:
    """The remedies with those of the start first (early) or last (later).

    >>> in_order(("warm-up", "lower lr"), "middle")
    ('lower lr', 'warm-up')
    """
    if phase == "":
        return tuple(remedies)
    start = [one for one in remedies if one in OF_THE_START]
    other = [one for one in remedies if one not in OF_THE_START]
    return tuple([*start, *other] if phase == "early" else [*other, *start])
