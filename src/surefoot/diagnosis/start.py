"""Causes in how the network begins: its weights, its inputs, its structure.

A Case comes in, what speaks for each cause goes out; None means that nothing does. The
confidences order causes that explain the same findings; they are no probabilities.
"""

from __future__ import annotations

from surefoot.diagnosis.case import SATURATING, Account, Case, Cause, account
from surefoot.signatures import network
from surefoot.signatures.context import JUMPED

SIGMOIDS = ("Sigmoid", "Hardsigmoid", "LogSigmoid")


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
        # A sigmoid fades backward only; a tanh that fades forward is given too little.
        weak = forward is not None and not case.hidden(SIGMOIDS)
        held = (forward, fading, case.alarm("not_learning"))
        return account(0.94, *held) if weak else None
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
    full = case.alarm("saturation")
    if forward is None:
        if full is None or full.onset > 0 or len(full.layers) < 2:
            return None
        if case.sign("input_scale") is not None:
            return None
        layer = network.weights_before(case.facts, full.layer)
        return account(0.8, full, layer=layer)
    hurt = case.alarms("exploding_gradients", "divergence", "not_learning")
    return account(0.88, forward, *hurt, case.alarm("update_ratio", "high"))


def no_normalisation(case: Case) -> Account | None:
    """A deep plain network without normalisation, whose signal leaves its range."""
    hurt = case.alarms("activation_scale", "vanishing_gradients")
    if not hurt or case.normalised:
        return None
    return account(0.45, *hurt)


def dead_relu(case: Case) -> Account | None:
    """A ReLU layer is silent, and was before anything else went wrong."""
    dead = case.alarm("dead_units")
    if dead is None:
        return None
    rivals = (
        case.alarm("update_ratio", "high"),
        case.alarm("activation_scale"),
        case.alarm("vanishing_gradients"),
        case.alarm("loss_spike") if case.ratio("input_ratio") > JUMPED else None,
    )
    later = any(r is not None and r.onset < dead.onset for r in rivals)
    second = later or case.grew or case.ratio("lr_ratio") > JUMPED
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


def alike(case: Case) -> Account | None:
    """All units of a hidden layer start with the same weights."""
    found = case.alarm("symmetric_start")
    if found is None:
        return None
    return account(0.95, found, case.alarm("not_learning"), confirmed=True)


def post_norm(case: Case) -> Account | None:
    """A deep transformer that normalises after the sum does not get going."""
    if not case.post_normalised:
        return None
    hurt = case.alarms("not_learning", "divergence", "vanishing_gradients")
    return account(0.55, *hurt, case.sign("update_ratio", "high")) if hurt else None


CAUSES: tuple[Cause, ...] = (
    Cause(
        name="saturating activations in a deep network",
        about="Each sigmoid or tanh passes on a fraction of the gradient, and the "
        "weights are not scaled to make up for it. What reaches the first layers is "
        "decades too small to train them.",
        told_apart="The gradient fades from layer to layer relative to the weights, "
        "and the network has many saturating activations; a low learning rate leaves "
        "the profile flat.",
        remedies=("relu and kaiming", "layer norm", "rescale"),
        weigh=saturating_depth,
    ),
    Cause(
        name="weights start too small",
        about="The weights of the first steps shrink the signal from layer to layer. "
        "The output hardly depends on the input, and the gradient fades likewise.",
        told_apart="Activations or gradients fade with depth from step 0 on, without "
        "saturating activations.",
        remedies=("kaiming", "residual path", "layer norm", "own start"),
        weigh=weak_start,
    ),
    Cause(
        name="weights start at zero",
        about="Neighbouring layers begin with all weights at zero. Neither passes on a "
        "signal or a gradient, so both stay there, or leave only by their biases.",
        told_apart="The weights of two layers in a row have norm zero at step 0; one "
        "zero layer at the end of a residual branch is sound and no alarm.",
        remedies=("own start", "rescale"),
        weigh=zero_weights,
    ),
    Cause(
        name="inputs not scaled",
        about="The inputs are far from zero mean and unit size. The first layer turns "
        "them into activations that saturate, or into a loss that is far too high.",
        told_apart="Inputs are large from the first batch on; where weights are to "
        "blame, the input has unit size and a later layer amplifies it.",
        remedies=("scale inputs", "layer norm"),
        weigh=large_inputs,
    ),
    Cause(
        name="weights start too large",
        about="The weights of the first steps amplify the signal from layer to layer. "
        "The first loss is far above that of a guess, and the first updates throw the "
        "network out of its range.",
        told_apart="Activations grow by decades in the very first forward pass, before "
        "any update; a high learning rate needs some steps.",
        remedies=("own start", "rescale", "layer norm", "clip", "warm-up"),
        weigh=exploding_start,
    ),
    Cause(
        name="missing normalisation",
        about="A deep network without normalisation keeps its signal in range only if "
        "every layer is scaled right. Here it leaves the range.",
        told_apart="No normalisation layer was seen, and the signal changes by decades "
        "with depth.",
        remedies=("layer norm", "rescale", "residual path"),
        weigh=no_normalisation,
    ),
    Cause(
        name="dead ReLU",
        about="The units of a ReLU layer are negative on every example. They pass on "
        "nothing and get no gradient that could wake them.",
        told_apart="The share of dead units rose before the loss suffered; where the "
        "updates were too long before, the learning rate is to blame.",
        remedies=("revive", "kaiming", "gelu", "lower lr", "own start"),
        weigh=dead_relu,
    ),
    Cause(
        name="saturated activations",
        about="Sigmoids or tanhs sit at the flat ends of their range. Weights or "
        "inputs are too large, and hardly any gradient passes.",
        told_apart="Most outputs of the layer are within 5 % of the ends of the range.",
        remedies=("rescale", "layer norm", "relu and kaiming", "own start"),
        weigh=saturated,
    ),
    Cause(
        name="units start alike",
        about="All units of a layer begin with the same weights. They compute the "
        "same, get the same gradient and stay copies of one another.",
        told_apart="The rows of the weight matrix are equal before the first update; "
        "weights that are only too small differ from one another.",
        remedies=("own start", "kaiming"),
        weigh=alike,
    ),
    Cause(
        name="post-norm transformer",
        about="Normalising after the residual sum makes the gradients of the last "
        "blocks large and those of the first ones small. Deep stacks do not start "
        "without a warm-up.",
        told_apart="Each block ends with its normalisation, and the loss stays at a "
        "guess or diverges early.",
        remedies=("pre-norm", "warm-up", "lower lr"),
        weigh=post_norm,
    ),
)
