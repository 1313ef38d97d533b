"""Causes in scores that grow without bound: attention and output.

A Case comes in, what speaks for each cause goes out; None means that nothing does. The
confidences order causes that explain the same findings; they are no probabilities.
"""

from __future__ import annotations

from surefoot.diagnosis.case import Account, Case, Cause, account


def attention_logits(case: Case) -> Account | None:
    """Attention looks at one place only, because its scores have grown."""
    found = case.alarm("attention_logits")
    if found is None:
        return None
    hurt = case.alarms("not_learning", "divergence", "loss_spike")
    return account(0.9, found, *hurt)


def output_logits(case: Case) -> Account | None:
    """The scores of the output drift away from zero together."""
    found = case.alarm("logit_drift")
    if found is None:
        return None
    hurt = case.alarms("not_learning", "divergence", "loss_spike")
    return account(0.8, found, *hurt)


CAUSES: tuple[Cause, ...] = (
    Cause(
        name="attention logits grow",
        about="Queries and keys have grown until the softmax of attention picks one "
        "place and passes on no gradient.",
        told_apart="Attention scores far above those of the start, and an entropy near "
        "zero, before the loss suffered.",
        remedies=("query-key norm", "lower lr"),
        weigh=attention_logits,
    ),
    Cause(
        name="output logits drift",
        about="All scores of the output wander off together. The softmax does not see "
        "it, low precision and the last layer do.",
        told_apart="The mean of log² Z rises steadily while the entropy of the output "
        "does not explain it.",
        remedies=("z-loss", "lower lr"),
        weigh=output_logits,
    ),
)
