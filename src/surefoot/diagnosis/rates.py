"""Causes in the size of the updates: learning rate, warm-up, memory of the optimizer.

A Case comes in, what speaks for each cause goes out; None means that nothing does. The
confidences order causes that explain the same findings; they are no probabilities.
"""

from __future__ import annotations

from collections.abc import Sequence

from surefoot.diagnosis.case import Account, Case, Cause, account
from surefoot.signatures.context import JUMPED
from surefoot.types import Finding

SOON_STEPS = 60
"""Steps within which harm that follows long updates is laid to them."""
EARLY_STEPS = 30
"""Steps in which a warm-up would have held the updates back."""


def lr_too_high(case: Case) -> Account | None:
    """Updates too long for the weights, and a loss that suffers from it."""
    hurt = case.alarms(
        "divergence", "exploding_gradients", "loss_spike", "not_learning", "oscillation"
    )
    broken = case.alarm("nonfinite")
    grown = broken if broken is not None and case.grew else None
    victims = case.alarms("dead_units", "saturation", "vanishing_gradients")
    updates = _long_updates(case, (*hurt, *victims)) or case.alarm("overshoot")
    scores = case.alarm("attention_logits")
    if scores is not None and updates is None and scores.onset < case.steps // 3:
        return account(0.91, scores, *hurt, layer="run")
    told = (updates, *hurt, grown, *victims)
    if case.ratio("lr_ratio") > JUMPED and (hurt or grown is not None):
        return account(0.95, *told, layer="run")
    if updates is not None:
        first = all(updates.onset <= victim.onset for victim in victims)
        # Long updates that begin with an input out of range are its victims too.
        after = all(updates.onset >= one.onset for one in hurt) and bool(hurt)
        follows = after and case.ratio("input_ratio") > JUMPED
        shrunk = case.alarm("over_regularised", "decay") is not None
        first = first and case.sound_start and not follows
        confidence = 0.93 if first and not shrunk else 0.5
        return account(confidence, *told, layer="run")
    if grown is not None:
        return account(0.6, *hurt, grown, layer="run")
    return _slowly_diverging(case, hurt)


def _long_updates(case: Case, alarms: Sequence[Finding]) -> Finding | None:
    """Too long updates: an alarm, or harmless ones that harm followed soon."""
    seen = case.sign("update_ratio", "high")
    if seen is None or seen.severity != "info":
        return seen
    soon = any(0 <= one.onset - seen.onset <= SOON_STEPS for one in alarms)
    return seen if soon else None


def _slowly_diverging(case: Case, hurt: Sequence[Finding]) -> Account | None:
    """A loss that climbs, or gradients that fade, after a sound start."""
    if not case.sound_start:
        return None
    diverged, fading = case.alarm("divergence"), case.alarm("vanishing_gradients")
    if diverged is not None:
        sudden = diverged.detail.get("abrupt") or case.ratio("input_ratio") > JUMPED
        return account(0.3 if sudden else 0.5, *hurt, layer="run")
    if fading is None:
        return None
    return account(0.45, *hurt, fading, layer="run")


def lr_too_low(case: Case) -> Account | None:
    """The weights cannot have moved, and the loss did not."""
    small = case.alarm("update_ratio", "low")
    if small is None:
        return None
    fading = case.alarm("vanishing_gradients")
    confidence = 0.5 if fading is not None else 0.85
    return account(confidence, small, case.sign("not_learning"), layer="run")


def stale_moment(case: Case) -> Account | None:
    """Adam's second moment fell behind the gradient before the loss jumped."""
    stale = case.alarm("stale_second_moment")
    if stale is None or case.ratio("input_ratio") > JUMPED:
        return None
    hurt = case.alarms("loss_spike", "divergence", "exploding_gradients")
    # What is first seen with the jump of the loss, or after it, may be its victim.
    before = all(stale.onset < one.onset for one in hurt)
    if stale.detail.get("kind") == "outgrown":
        # Gradients that had faded from the start outgrow their memory when they wake.
        sure = 0.89 if case.alarm("vanishing_gradients") is None else 0.75
        return account(sure if before else 0.4, stale, *hurt)
    return account(0.7 if hurt and before else 0.4, stale, *hurt)


def no_warm_up(case: Case) -> Account | None:
    """Adaptive updates at full length from the first step on, and harm at once."""
    if not case.adaptive or case.warmed_up:
        return None
    scores = case.alarm("attention_logits")
    long = case.sign("update_ratio", "high")
    hurt = case.alarms("not_learning", "divergence", "loss_spike", "dead_units")
    if scores is not None and scores.onset < case.steps // 2:
        return account(0.92, scores, long, *hurt, layer="run")
    early = long is not None and long.onset < EARLY_STEPS and bool(hurt)
    confidence = 0.6 if case.attends else 0.4
    return account(confidence, long, *hurt, layer="run") if early else None


def noisy_gradient(case: Case) -> Account | None:
    """The gradient of a batch says more about the batch than about the data."""
    found = case.alarm("gradient_noise")
    if found is None:
        return None
    # A network that cannot learn has nothing but noise in its gradient.
    rivals = case.alarms(
        "vanishing_gradients", "update_ratio", "activation_scale", "dead_units"
    )
    confidence = 0.35 if rivals else 0.7
    return account(confidence, found, case.sign("not_learning"))


CAUSES: tuple[Cause, ...] = (
    Cause(
        name="learning rate too high",
        about="The updates are too long for the weights they change. The loss jumps "
        "across the valley instead of going down into it.",
        told_apart="Updates are a tenth of the weights or more, or the learning rate "
        "itself jumped; the signal has its proper size in the first forward pass and "
        "the inputs did not change.",
        remedies=("lower lr", "warm-up", "clip"),
        weigh=lr_too_high,
    ),
    Cause(
        name="learning rate too low",
        about="The updates are so short that the weights cannot have moved. The loss "
        "stays where it started.",
        told_apart="The sum of all updates is a small share of the weights in every "
        "layer; with a vanishing gradient the last layers do move.",
        remedies=("higher lr",),
        weigh=lr_too_low,
    ),
    Cause(
        name="stale second moment",
        about="Gradients grew while Adam still divided by the small ones of before. "
        "The updates became too long just when the landscape became steep.",
        told_apart="RMS(g²/v) of a tensor was far above 1 before the loss jumped, and "
        "neither the inputs nor the learning rate had changed.",
        remedies=("shorter memory", "clip", "lower lr"),
        weigh=stale_moment,
    ),
    Cause(
        name="no warm-up",
        about="Adam's first updates have full length whatever the gradient says, since "
        "its memory is empty. Networks with attention rarely survive that at a rate "
        "that is right later.",
        told_apart="The harm begins within the first steps and the rate is at its "
        "height from step 0 on.",
        remedies=("warm-up", "lower lr"),
        weigh=no_warm_up,
    ),
    Cause(
        name="gradient noise dominates",
        about="The batches are so small, or the labels so noisy, that consecutive "
        "gradients have nothing in common. The weights wander instead of going down.",
        told_apart="Consecutive gradients are uncorrelated and the loss no longer "
        "falls; with a rate that is too high they point against each other.",
        remedies=("larger batch", "lower lr"),
        weigh=noisy_gradient,
    ),
)
