"""One function per cause: a Case comes in, what speaks for the cause goes out.

None means that nothing does. The confidences order causes that explain the same
findings; they are no probabilities.
"""

from __future__ import annotations

from collections.abc import Sequence

from surefoot.diagnosis.case import SATURATING, Account, Case, account
from surefoot.signatures.context import JUMPED, SURE_JUMP
from surefoot.types import Finding

SOON_STEPS = 60
"""Steps within which harm that follows long updates is laid to them."""

GREW = 100.0
"""Growth of the gradient before a non-finite value that makes it a victim."""

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
    grew = _grew(case)
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


def lr_too_high(case: Case) -> Account | None:
    """Updates too long for the weights, and a loss that suffers from it."""
    hurt = case.alarms(
        "divergence", "exploding_gradients", "loss_spike", "not_learning", "oscillation"
    )
    broken = case.alarm("nonfinite")
    grown = broken if broken is not None and _grew(case) else None
    victims = case.alarms("dead_units", "saturation", "vanishing_gradients")
    updates = _long_updates(case, (*hurt, *victims))
    told = (updates, *hurt, grown, *victims)
    if case.ratio("lr_ratio") > JUMPED and (hurt or grown is not None):
        return account(0.95, *told, layer="run")
    if updates is not None:
        first = all(updates.onset <= victim.onset for victim in victims)
        # Long updates that begin with an input out of range are its victims too.
        after = all(updates.onset >= one.onset for one in hurt) and bool(hurt)
        follows = after and case.ratio("input_ratio") > JUMPED
        confidence = 0.93 if first and _sound_start(case) and not follows else 0.5
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
    if not _sound_start(case):
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


def saturating_depth(case: Case) -> Account | None:
    """A deep stack of sigmoids or tanhs whose gradient fades."""
    fading = case.alarm("vanishing_gradients")
    if fading is None or case.hidden(SATURATING) < 3:
        return None
    full = case.sign("saturation")
    if fading.onset > 0 or (full is not None and full.onset == 0):
        return account(0.4, fading)
    fading_forward = case.alarm("activation_scale", "fades")
    held = (case.alarm("saturation"), fading_forward, case.alarm("not_learning"))
    return account(0.92, fading, *held)


def weak_start(case: Case) -> Account | None:
    """A signal that fades forward or backward without saturating activations."""
    fading = case.alarm("vanishing_gradients")
    forward = case.alarm("activation_scale", "fades")
    if fading is None and forward is None:
        return None
    if case.hidden(SATURATING) >= 3:
        return None
    at_start = min(f.onset for f in (fading, forward) if f is not None) == 0
    dead = case.alarm("dead_units")
    killed = dead is not None and dead.onset == 0
    confidence = 0.8 if at_start and not killed else 0.4
    return account(confidence, fading, forward, case.alarm("not_learning"))


def zero_weights(case: Case) -> Account | None:
    """Neighbouring weights start at zero."""
    found = case.alarm("zero_start")
    if found is None:
        return None
    return account(0.94, found, case.alarm("not_learning"), confirmed=True)


def large_inputs(case: Case) -> Account | None:
    """Inputs far from unit size, and a network that suffers from them."""
    found = case.sign("input_scale")
    hurt = case.alarms(
        "saturation", "activation_scale", "divergence", "not_learning", "nonfinite"
    )
    if found is None or (found.severity == "info" and not hurt):
        return None
    return account(0.9, found, *hurt)


def exploding_start(case: Case) -> Account | None:
    """A signal that grows by decades in the first forward pass."""
    forward = case.alarm("activation_scale", "grows")
    if forward is None:
        return None
    hurt = case.alarms("exploding_gradients", "divergence", "not_learning")
    return account(0.88, forward, *hurt, case.alarm("update_ratio", "high"))


def no_normalisation(case: Case) -> Account | None:
    """A deep plain network without normalisation, whose signal leaves its range."""
    hurt = case.alarms("activation_scale", "vanishing_gradients")
    if not hurt or case.normalised:
        return None
    return account(0.45, *hurt)


def bad_batch(case: Case) -> Account | None:
    """One batch out of range: loss or gradient jump, the learning rate does not."""
    hurt = case.alarms("loss_spike", "exploding_gradients", "divergence")
    if not hurt or case.ratio("lr_ratio") > JUMPED:
        return None
    if case.ratio("input_ratio") > JUMPED:
        return account(0.92, *hurt, confirmed=True)
    spike = case.alarm("loss_spike")
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


def stale_moment(case: Case) -> Account | None:
    """Adam's second moment fell behind the gradient before the loss jumped."""
    stale = case.alarm("stale_second_moment")
    if stale is None or case.ratio("input_ratio") > JUMPED:
        return None
    hurt = case.alarms("loss_spike", "divergence", "exploding_gradients")
    # read every few steps: what is first seen after the jump may be its victim
    before = all(stale.onset < f.onset for f in hurt)
    return account(0.7 if hurt and before else 0.4, stale, *hurt)


def dead_relu(case: Case) -> Account | None:
    """A ReLU layer is silent, and was before anything else went wrong."""
    dead = case.alarm("dead_units")
    if dead is None:
        return None
    rivals = (
        case.alarm("update_ratio", "high"),
        case.alarm("activation_scale"),
        case.alarm("loss_spike") if case.ratio("input_ratio") > JUMPED else None,
    )
    later = any(r is not None and r.onset < dead.onset for r in rivals)
    second = later or _grew(case) or case.ratio("lr_ratio") > JUMPED
    confidence = 0.55 if second else 0.93
    return account(
        confidence, dead, case.alarm("not_learning"), case.alarm("divergence")
    )


def saturated(case: Case) -> Account | None:
    """Bounded activations at their ends: weights or inputs too large."""
    found = case.alarm("saturation")
    if found is None:
        return None
    if case.alarm("update_ratio", "high") is not None and found.onset > 0:
        return account(0.5, found)
    return account(0.7, found, case.alarm("not_learning"), case.alarm("divergence"))


def frozen_layer(case: Case) -> Account | None:
    """Parameters that do not change while others do."""
    found = tuple(
        finding
        for kind in ("unheld", "unmoved", "detached")
        if (finding := case.alarm("frozen", kind)) is not None
    )
    return account(0.9, *found, confirmed=True) if found else None


def never_zeroed(case: Case) -> Account | None:
    """Gradients add up over all steps."""
    found = case.alarm("accumulating_gradients")
    if found is None:
        return None
    hurt = case.alarms("divergence", "not_learning", "exploding_gradients")
    return account(0.96, found, *hurt, confirmed=True)


def unknown(case: Case) -> Account | None:
    """The run does badly and nothing recorded says why."""
    hurt = case.alarms("not_learning", "divergence", "loss_spike", "nonfinite")
    return account(0.2, *hurt) if hurt else None


def _grew(case: Case) -> bool:
    """Whether the gradient was growing when something became non-finite."""
    found = case.alarm("nonfinite")
    return found is not None and float(found.detail.get("growth", 1.0)) > GREW


def _sound_start(case: Case) -> bool:
    """Whether the signal kept its size at the start: the init is not to blame."""
    fading = case.alarm("vanishing_gradients")
    at_start = fading is not None and fading.onset == 0
    return case.alarm("activation_scale") is None and not at_start
