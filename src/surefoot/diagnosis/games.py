"""Causes in games between networks, and between an agent and its world.

A Case comes in, what speaks for each cause goes out; None means that nothing does. The
confidences order causes that explain the same findings; they are no probabilities.
"""

from __future__ import annotations

from surefoot.diagnosis.case import Account, Case, Cause, account


def strong_discriminator(case: Case) -> Account | None:
    """One of two adversaries has won."""
    found = case.alarm("one_sided_game")
    return None if found is None else account(0.92, found, confirmed=True)


def reward_scale(case: Case) -> Account | None:
    """Returns so large that the policy is decided by its first episodes."""
    found = case.alarm("policy_collapse")
    return None if found is None else account(0.93, found, case.sign("update_ratio"))


CAUSES: tuple[Cause, ...] = (
    Cause(
        name="discriminator too strong",
        about="The discriminator tells real from made without effort. Its loss is "
        "nearly zero, and the generator is given no direction to improve in.",
        told_apart="One loss is near zero and the other far above its start at the "
        "same time; in a fair game both stay in between.",
        remedies=("weaker discriminator",),
        weigh=strong_discriminator,
    ),
    Cause(
        name="reward scale",
        about="Rewards are so large that the first episodes decide. The policy becomes "
        "certain before it has tried much.",
        told_apart="The entropy of the policy fell to nearly nothing within the first "
        "updates.",
        remedies=("scale rewards", "lower lr"),
        weigh=reward_scale,
    ),
)
