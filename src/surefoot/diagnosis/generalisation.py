"""Causes between training and use: fitting too much, too little, or other statistics.

A Case comes in, what speaks for each cause goes out; None means that nothing does. The
confidences order causes that explain the same findings; they are no probabilities.
"""

from __future__ import annotations

from surefoot.diagnosis.case import Account, Case, Cause, account


def overfitting(case: Case) -> Account | None:
    """The network fits its training data at the cost of other data."""
    found = case.alarm("overfitting")
    if found is None:
        return None
    rivals = case.alarms(
        "label_noise", "evaluation_mode", "norm_gap", "divergence", "class_imbalance"
    )
    shifted = case.sign("input_shift") is not None
    return account(0.4 if rivals or shifted else 0.85, found, confirmed=True)


def over_regularised(case: Case) -> Account | None:
    """Penalties hold the network back from its task."""
    found = case.alarm("over_regularised")
    if found is None:
        return None
    return account(
        0.9, found, case.sign("not_learning"), case.sign("vanishing_gradients")
    )


def statistics_differ(case: Case) -> Account | None:
    """Normalisation uses other statistics in evaluation than in training."""
    found, judged = case.alarm("norm_gap"), case.alarm("evaluated")
    if judged is not None:
        return account(0.95, judged, found, case.sign("overfitting"), confirmed=True)
    return None if found is None else account(0.85, found, case.sign("overfitting"))


def too_few_values(case: Case) -> Account | None:
    """Batch normalisation over a handful of values."""
    found, gap = case.sign("few_values"), case.alarm("norm_gap")
    if found is None or (found.severity == "info" and gap is None):
        return None
    return account(0.9, found, gap)


CAUSES: tuple[Cause, ...] = (
    Cause(
        name="overfitting",
        about="The network has begun to learn its training examples by heart. Its loss "
        "on other data rises while that on the training data falls.",
        told_apart="Both losses fell together before; where they differ from the "
        "start, the two sets or the modes differ.",
        remedies=("early stopping", "more regularisation"),
        weigh=overfitting,
    ),
    Cause(
        name="over-regularised",
        about="Weight decay or dropout is stronger than what the data teach. The "
        "weights shrink, or the signal drowns, and the network cannot fit its own "
        "training data.",
        told_apart="The pull of the decay is as large as the updates, or nearly all "
        "units are dropped, while the training loss stays high.",
        remedies=("less regularisation",),
        weigh=over_regularised,
    ),
    Cause(
        name="train and evaluation differ",
        about="The running statistics of batch normalisation are not those of the "
        "batches. The network that is evaluated is another one than the one trained.",
        told_apart="Batch mean and running mean differ by more than the noise of a "
        "batch, to the end of the run.",
        remedies=("evaluation mode", "recompute statistics", "other norm"),
        weigh=statistics_differ,
    ),
    Cause(
        name="batch normalisation on too few values",
        about="Mean and variance are taken over so few values that they are mostly "
        "noise, and the output of one example depends on its neighbours.",
        told_apart="Number of values a channel, and the error of a variance from so "
        "few: the root of 2 / (n - 1).",
        remedies=("other norm", "larger batch"),
        weigh=too_few_values,
    ),
)
