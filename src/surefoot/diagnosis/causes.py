"""The catalogue of causes: nothing comes in, one visible tuple goes out."""

from __future__ import annotations

import re

from surefoot.diagnosis import (
    data,
    games,
    generalisation,
    logits,
    numerics,
    rates,
    start,
    wiring,
)
from surefoot.diagnosis.case import Account, Case, Cause, account


def unknown(case: Case) -> Account | None:
    """The run does badly and nothing recorded says why."""
    hurt = case.alarms("not_learning", "divergence", "loss_spike", "nonfinite")
    return account(0.2, *hurt) if hurt else None


ALL: tuple[Cause, ...] = (
    *numerics.CAUSES,
    *rates.CAUSES,
    *start.CAUSES,
    *data.CAUSES,
    *wiring.CAUSES,
    *generalisation.CAUSES,
    *logits.CAUSES,
    *games.CAUSES,
    Cause(
        name="unknown",
        about="The run does badly, and nothing that was recorded says why. Data, "
        "labels and the wiring of the loss are the usual suspects.",
        told_apart="No symptom of the other causes was found.",
        remedies=("check wiring", "lower lr", "higher lr"),
        weigh=unknown,
    ),
)


def page(name: str) -> str:
    """Where the documentation tells of a cause: a page of docs/ and its section.

    >>> page("softmax applied twice")
    'causes.md#softmax-applied-twice'
    """
    words = re.sub(r"[^\w\s-]", "", name.lower()).split()
    return f"causes.md#{'-'.join(words)}"
