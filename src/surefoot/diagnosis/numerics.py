"""Causes in the numbers themselves: undefined operations, overflow, rounding.

A Case comes in, what speaks for each cause goes out; None means that nothing does. The
confidences order causes that explain the same findings; they are no probabilities.
"""

from __future__ import annotations

from surefoot.diagnosis.case import Account, Case, Cause, account

NO_EPSILON = 1e-30
"""Its square root is still a number in float32, that of its square is not."""

UNDEFINED = (
    "log", "sqrt", "div", "pow", "norm", "reciprocal", "acos", "asin", "atan", "exp"
)  # fmt: skip
"""Operations whose value or slope is not finite inside the range of float32."""


def numeric_fault(case: Case) -> Account | None:
    """A non-finite value was born in a named module that was doing well before."""
    found = case.alarm("nonfinite")
    if found is None or found.detail.get("direction") in ("data", "update"):
        return None
    located = bool(found.detail.get("operation"))
    grew = case.grew
    operation = str(found.detail.get("operation", ""))
    typical = any(word in operation for word in UNDEFINED)
    if not located:
        return None if grew else account(0.4, found)
    confidence = (0.95 if typical else 0.8) - (0.5 if grew else 0.0)
    return account(confidence, found, confirmed=True)


def nonfinite_data(case: Case) -> Account | None:
    """The input itself was not finite."""
    found = case.alarm("nonfinite")
    if found is None or found.detail.get("direction") != "data":
        return None
    return account(0.95, found, confirmed=True)


def half_overflow(case: Case) -> Account | None:
    """Numbers left the range of half precision before anything else went wrong."""
    found = case.alarm("half_precision")
    if found is None:
        return None
    broken = case.alarm("nonfinite")
    return account(0.97, found, broken, case.sign("divergence"), confirmed=True)


def epsilon_dominates(case: Case) -> Account | None:
    """Adam's epsilon is larger than the gradients that it should keep from zero."""
    found = case.alarm("epsilon")
    if found is None:
        return None
    return account(0.9, found, case.sign("not_learning"), case.sign("update_ratio"))


def epsilon_too_small(case: Case) -> Account | None:
    """An update that divided nothing by nothing."""
    found = case.alarm("nonfinite")
    epsilon = case.facts.options.get("eps")
    if found is None or not isinstance(epsilon, int | float) or not case.adaptive:
        return None
    if found.detail.get("direction") != "update" or epsilon > NO_EPSILON:
        return None
    return account(0.95, found, layer="run", confirmed=True)


CAUSES: tuple[Cause, ...] = (
    Cause(
        name="numeric fault",
        about="An operation was given a value outside its domain, such as log(0). From "
        "that step on the loss, and soon every weight, is not finite.",
        told_apart="The step was run again: this operation had finite inputs and a "
        "non-finite result. In a divergence the gradient grows for many steps before.",
        remedies=("guard", "skip non-finite", "clip"),
        weigh=numeric_fault,
    ),
    Cause(
        name="non-finite data",
        about="A batch held NaN or infinite numbers. The network was sound; what it "
        "was given was not.",
        told_apart="The input of the failing step is itself not finite.",
        remedies=("inspect batch", "skip non-finite"),
        weigh=nonfinite_data,
    ),
    Cause(
        name="half precision overflow",
        about="Activations or gradients left the range of float16, which ends at "
        "65,504. What is beyond becomes infinite, and NaN soon after.",
        told_apart="The numbers stood near the end of the range before they broke; an "
        "undefined operation breaks out of the middle of it.",
        remedies=("wider numbers", "clip", "lower lr"),
        weigh=half_overflow,
    ),
    Cause(
        name="epsilon dominates",
        about="Adam divides by the size of the gradient plus epsilon, and epsilon is "
        "by far the larger. The steps shrink with the gradient, as plain SGD's would "
        "with a tiny rate.",
        told_apart="The root of the second moment lies below epsilon in most layers; "
        "with a rate that is too low it lies above.",
        remedies=("usual epsilon", "higher lr"),
        weigh=epsilon_dominates,
    ),
    Cause(
        name="epsilon too small",
        about="Adam divides by the root of its second moment plus epsilon. Where a "
        "gradient is zero and epsilon is nothing, that is zero by zero.",
        told_apart="The weights broke in the update itself, while loss and gradients "
        "were finite, and epsilon is too small for float32 to hold.",
        remedies=("usual epsilon", "skip non-finite"),
        weigh=epsilon_too_small,
    ),
)
