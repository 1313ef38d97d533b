"""Causes in what the network is given: batches, inputs, labels.

A Case comes in, what speaks for each cause goes out; None means that nothing does. The
confidences order causes that explain the same findings; they are no probabilities.
"""

from __future__ import annotations

from surefoot.diagnosis.case import Account, Case, Cause, account
from surefoot.signatures.context import JUMPED, SURE_JUMP

NEAR_STEPS = 30
"""Steps within which harm belongs to a change of the inputs."""


def bad_batch(case: Case) -> Account | None:
    """One batch out of range: loss or gradient jump, the learning rate does not."""
    hurt = case.alarms("loss_spike", "exploding_gradients", "divergence")
    if not hurt or case.ratio("lr_ratio") > JUMPED:
        return None
    spike = case.alarm("loss_spike")
    back = spike is None or bool(spike.detail.get("recovered", True))
    if case.ratio("input_ratio") > (JUMPED if back else SURE_JUMP):
        return account(0.92, *hurt, confirmed=True)
    if spike is None or case.alarm("stale_second_moment") is not None:
        return None
    confidence = 0.45 if spike.detail.get("recovered", True) else 0.3
    return account(confidence, spike, case.alarm("exploding_gradients"))


def data_changed(case: Case) -> Account | None:
    """The loss jumped to another level at one step, and nothing in the network did."""
    diverged, spike = case.alarm("divergence"), case.alarm("loss_spike")
    jumped = diverged is not None and bool(diverged.detail.get("abrupt"))
    stays = spike is not None and not spike.detail.get("recovered", True)
    if not jumped and not stays:
        return None
    if (
        case.ratio("input_ratio") > SURE_JUMP
        or case.alarm("update_ratio") is not None
        or case.ratio("lr_ratio") > JUMPED
    ):
        return None
    others = case.alarms("dead_units", "frozen", "nonfinite")
    return None if others else account(0.5, diverged, spike)


def labels_changed(case: Case) -> Account | None:
    """The loss jumped to another level while the inputs stayed as they were."""
    if not case.inputs_seen or case.sign("input_shift") is not None:
        return None
    own = data_changed(case)
    if own is not None and any(one.detail.get("accuracy_held") for one in own.findings):
        return None
    return None if own is None else account(own.confidence + 0.05, *own.findings)


def inputs_shifted(case: Case) -> Account | None:
    """The inputs changed at one step, and the loss suffered from there."""
    shift = case.sign("input_shift")
    if shift is None:
        return None
    hurt = case.alarms(
        "divergence", "loss_spike", "not_learning", "exploding_gradients", "overfitting"
    )
    near = [one for one in hurt if abs(one.onset - shift.onset) <= NEAR_STEPS]
    if not near and shift.severity == "info":
        return None
    return account(0.94, shift, *near, confirmed=True)


def noisy_labels(case: Case) -> Account | None:
    """A part of the examples contradicts all others."""
    found = case.alarm("label_noise")
    return None if found is None else account(0.85, found, case.sign("overfitting"))


def imbalance(case: Case) -> Account | None:
    """One class drowns the others, which are not learnt."""
    found = case.alarm("class_imbalance")
    return None if found is None else account(0.88, found, case.sign("not_learning"))


CAUSES: tuple[Cause, ...] = (
    Cause(
        name="bad batch",
        about="A batch far from all others moved the weights too far. Corrupted, "
        "unscaled or mislabelled examples do this.",
        told_apart="Inputs or loss jumped at that step while the learning rate did "
        "not, and the second moment of the optimizer was not stale before.",
        remedies=("skip outliers", "clip", "inspect batch"),
        weigh=bad_batch,
    ),
    Cause(
        name="data changed",
        about="From one step on the loss is at another level and stays there. Inputs "
        "or targets are no longer what the network was trained on.",
        told_apart="The loss jumped within one step, while learning rate, updates and "
        "units of the network were as before; after a bad batch it comes back.",
        remedies=("inspect batch", "check wiring"),
        weigh=data_changed,
    ),
    Cause(
        name="labels changed",
        about="From one step on the targets no longer fit the inputs. The network is "
        "right by what it was taught before and wrong by what it is taught now.",
        told_apart="The loss jumped within one step and stays; mean and spread of the "
        "inputs are as before, and so are learning rate, updates and units.",
        remedies=("inspect batch", "check wiring"),
        weigh=labels_changed,
    ),
    Cause(
        name="inputs shifted",
        about="From one step on the inputs come from another distribution: another "
        "scale, another source, another preprocessing.",
        told_apart="Mean or spread of the inputs jumped at the step at which the loss "
        "did, and both stay.",
        remedies=("scale inputs", "inspect batch"),
        weigh=inputs_shifted,
    ),
    Cause(
        name="label noise",
        about="A part of the labels is wrong. The network learns the rest, is sure of "
        "it, and is then pulled towards the wrong ones.",
        told_apart="The losses of the examples fall into two groups, small and very "
        "large, and the second does not shrink; hard examples lie in between.",
        remedies=("clean labels", "early stopping"),
        weigh=noisy_labels,
    ),
    Cause(
        name="class imbalance",
        about="Most examples are of one class. Answering with it is nearly right, so "
        "the rare classes are learnt late or never.",
        told_apart="Rare classes are recognised far less often than common ones in the "
        "same batches.",
        remedies=("balance classes",),
        weigh=imbalance,
    ),
)
