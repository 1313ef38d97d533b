"""The catalogue of causes: nothing comes in, one visible tuple goes out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from surefoot.diagnosis import rules
from surefoot.diagnosis.case import Account, Case


@dataclass(frozen=True, slots=True)
class Cause:
    """Why a run does badly.

    `about` says in two sentences what it is, `told_apart` how it is told from its
    look-alikes, `remedies` names what helps (see `remedies.prescribe.ALL`), likeliest
    first, and `weigh` says what speaks for it in a given case.
    """

    name: str
    about: str
    told_apart: str
    remedies: tuple[str, ...]
    weigh: Callable[[Case], Account | None]


ALL: tuple[Cause, ...] = (
    Cause(
        name="numeric fault",
        about="An operation was given a value outside its domain, such as log(0). From "
        "that step on the loss, and soon every weight, is not finite.",
        told_apart="The step was run again: this operation had finite inputs and a "
        "non-finite result. In a divergence the gradient grows for many steps before.",
        remedies=("guard", "skip non-finite", "clip"),
        weigh=rules.numeric_fault,
    ),
    Cause(
        name="non-finite data",
        about="A batch held NaN or infinite numbers. The network was sound; what it "
        "was given was not.",
        told_apart="The input of the failing step is itself not finite.",
        remedies=("inspect batch", "skip non-finite"),
        weigh=rules.nonfinite_data,
    ),
    Cause(
        name="learning rate too high",
        about="The updates are too long for the weights they change. The loss jumps "
        "across the valley instead of going down into it.",
        told_apart="Updates are a tenth of the weights or more, or the learning rate "
        "itself jumped; the signal has its proper size in the first forward pass and "
        "the inputs did not change.",
        remedies=("lower lr", "warm-up", "clip"),
        weigh=rules.lr_too_high,
    ),
    Cause(
        name="learning rate too low",
        about="The updates are so short that the weights cannot have moved. The loss "
        "stays where it started.",
        told_apart="The sum of all updates is a small share of the weights in every "
        "layer; with a vanishing gradient the last layers do move.",
        remedies=("higher lr",),
        weigh=rules.lr_too_low,
    ),
    Cause(
        name="saturating activations in a deep network",
        about="Each sigmoid or tanh passes on a fraction of the gradient, and the "
        "weights are not scaled to make up for it. What reaches the first layers is "
        "decades too small to train them.",
        told_apart="The gradient fades from layer to layer relative to the weights, "
        "and the network has many saturating activations; a low learning rate leaves "
        "the profile flat.",
        remedies=("relu and kaiming", "layer norm", "rescale"),
        weigh=rules.saturating_depth,
    ),
    Cause(
        name="weights start too small",
        about="The weights of the first steps shrink the signal from layer to layer. "
        "The output hardly depends on the input, and the gradient fades likewise.",
        told_apart="Activations or gradients fade with depth from step 0 on, without "
        "saturating activations.",
        remedies=("kaiming", "layer norm"),
        weigh=rules.weak_start,
    ),
    Cause(
        name="weights start too large",
        about="The weights of the first steps amplify the signal from layer to layer. "
        "The first loss is far above that of a guess, and the first updates throw the "
        "network out of its range.",
        told_apart="Activations grow by decades in the very first forward pass, before "
        "any update; a high learning rate needs some steps.",
        remedies=("rescale", "layer norm", "clip", "warm-up"),
        weigh=rules.exploding_start,
    ),
    Cause(
        name="weights start at zero",
        about="Neighbouring layers begin with all weights at zero. Neither passes on "
        "a signal or a gradient, so both stay there, or leave only by their biases.",
        told_apart="The weights of two layers in a row have norm zero at step 0; one "
        "zero layer at the end of a residual branch is sound and no alarm.",
        remedies=("rescale",),
        weigh=rules.zero_weights,
    ),
    Cause(
        name="inputs not scaled",
        about="The inputs are far from zero mean and unit size. The first layer turns "
        "them into activations that saturate, or into a loss that is far too high.",
        told_apart="Inputs are large from the first batch on; where weights are to "
        "blame, the input has unit size and a later layer amplifies it.",
        remedies=("scale inputs", "layer norm"),
        weigh=rules.large_inputs,
    ),
    Cause(
        name="missing normalisation",
        about="A deep network without normalisation keeps its signal in range only if "
        "every layer is scaled right. Here it leaves the range.",
        told_apart="No normalisation layer was seen, and the signal changes by decades "
        "with depth.",
        remedies=("layer norm", "rescale"),
        weigh=rules.no_normalisation,
    ),
    Cause(
        name="bad batch",
        about="A batch far from all others moved the weights too far. Corrupted, "
        "unscaled or mislabelled examples do this.",
        told_apart="Inputs or loss jumped at that step while the learning rate did "
        "not, and the second moment of the optimizer was not stale before.",
        remedies=("skip outliers", "clip", "inspect batch"),
        weigh=rules.bad_batch,
    ),
    Cause(
        name="data changed",
        about="From one step on the loss is at another level and stays there. Inputs "
        "or targets are no longer what the network was trained on.",
        told_apart="The loss jumped within one step, while learning rate, updates and "
        "units of the network were as before; after a bad batch it comes back.",
        remedies=("inspect batch", "check wiring"),
        weigh=rules.data_changed,
    ),
    Cause(
        name="stale second moment",
        about="Gradients grew while Adam still divided by the small ones of before. "
        "The updates became too long just when the landscape became steep.",
        told_apart="RMS(g²/v) of a tensor was far above 1 before the loss jumped, and "
        "neither the inputs nor the learning rate had changed.",
        remedies=("shorter memory", "clip", "lower lr"),
        weigh=rules.stale_moment,
    ),
    Cause(
        name="dead ReLU",
        about="The units of a ReLU layer are negative on every example. They pass on "
        "nothing and get no gradient that could wake them.",
        told_apart="The share of dead units rose before the loss suffered; where the "
        "updates were too long before, the learning rate is to blame.",
        remedies=("kaiming", "gelu", "lower lr"),
        weigh=rules.dead_relu,
    ),
    Cause(
        name="saturated activations",
        about="Sigmoids or tanhs sit at the flat ends of their range. Weights or "
        "inputs are too large, and hardly any gradient passes.",
        told_apart="Most outputs of the layer are within 5 % of the ends of the range.",
        remedies=("rescale", "layer norm", "relu and kaiming"),
        weigh=rules.saturated,
    ),
    Cause(
        name="frozen layer",
        about="Parameters that should train do not change. No optimizer holds them, or "
        "no gradient reaches them.",
        told_apart="Other layers of the same run change at the same steps.",
        remedies=("register",),
        weigh=rules.frozen_layer,
    ),
    Cause(
        name="gradients never zeroed",
        about="Each backward pass adds to the gradients of all passes before. The "
        "optimizer follows a sum over the whole run, which no longer points downhill.",
        told_apart="The gradient grows from the first step on and is far smoother than "
        "the loss of the batches; accumulation over a few batches is not.",
        remedies=("zero gradients",),
        weigh=rules.never_zeroed,
    ),
    Cause(
        name="unknown",
        about="The run does badly, and nothing that was recorded says why. Data, "
        "labels and the wiring of the loss are the usual suspects.",
        told_apart="No symptom of the other causes was found.",
        remedies=("check wiring", "lower lr", "higher lr"),
        weigh=rules.unknown,
    ),
)
