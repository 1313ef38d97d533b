"""What counts as right: the name of a cause comes in, words that tell of it go out.

Peers do not share a language. Each rule of each package is translated into the words
below (the table stands in the file of the package), and each cause of the zoo says
which words name it (`root`) and which also count as having seen it (`hit`). Both are
meant to be generous: for a learning rate that is too high, spikes, divergence,
explosion, NaN and dead units all count as a hit.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

WORDS = {
    "update too large": "updates are long beside the weights, or the rate is too high",
    "update too small": "updates are short beside the weights, or the rate is too low",
    "gradient explodes": "the gradient is large, grows or jumps",
    "gradient vanishes": "the gradient is tiny, or shrinks with depth",
    "no gradient": "parameters get no gradient, or one of exactly zero",
    "loss spike": "the loss jumps",
    "divergence": "the loss grows, or the run is lost",
    "plateau": "the loss stands still",
    "not fitted": "one batch cannot be fitted",
    "overfitting": "held-out loss rises while the training loss falls",
    "non-finite": "something is NaN or infinite",
    "non-finite source": "the module or operation where the first NaN was made",
    "non-finite input": "a batch holds NaN or infinity",
    "dead units": "units put out zero on all examples",
    "saturation": "units sit at the ends of their range",
    "rank collapse": "activations or gradients span few directions",
    "outputs alike": "all examples get the same output",
    "initial loss": "the first loss is not that of a guess",
    "initial variance": "weights start with no spread, or a wrong one",
    "unchanged weights": "weights that should train do not change",
    "parameters not held": "no optimizer holds some parameters",
    "unused module": "a module never takes part",
    "weight growth": "weights grow or drift far",
    "weight imbalance": "layers differ in the size of weights or gradients",
    "input scale": "inputs are large, flat or off zero",
    "input shift": "inputs or activations change from one step to the next",
    "labels": "labels are out of range or suspicious",
    "imbalance": "one class rules the batch",
    "gradient noise": "the gradient is mostly noise",
    "tiny batch": "too few examples for what the network does",
    "random at evaluation": "evaluation is not deterministic",
    "batch mixing": "examples of a batch influence each other",
    "loss wiring": "the loss and the last activation do not fit",
    "stale moment": "the second moment is behind the gradient",
    "decay": "weight decay acts where it should not",
}


@dataclass(frozen=True, slots=True)
class Acceptable:
    """Words that name a cause, and words that count as having seen it."""

    root: frozenset[str]
    hit: frozenset[str]


_TOO_FAST = (
    "update too large, loss spike, divergence, gradient explodes, non-finite,"
    " dead units, weight growth, saturation, input shift, non-finite source,"
    " rank collapse"
)
_STUCK = (
    "plateau, not fitted, gradient vanishes, no gradient, update too small, dead units,"
    " outputs alike, unchanged weights, rank collapse"
)
_NAN = "non-finite, non-finite source, divergence, loss spike, gradient explodes"
_TABLE: Mapping[str, tuple[str, str]] = {
    "learning rate too high": ("update too large", _TOO_FAST),
    "no warm-up": ("update too large", _TOO_FAST),
    "learning rate too low": ("update too small", _STUCK),
    "gradients never zeroed": ("", _TOO_FAST),
    "stale second moment": ("stale moment", _TOO_FAST),
    "epsilon too small": ("update too large", _TOO_FAST),
    "epsilon dominates": ("update too small", _STUCK),
    "numeric fault": ("non-finite source", _NAN),
    "non-finite data": ("non-finite input", _NAN),
    "half precision overflow": ("non-finite source", _NAN + ", no gradient"),
    "weights start too small": ("initial variance, gradient vanishes", _STUCK),
    "weights start too large": (
        "initial variance, initial loss",
        _TOO_FAST + ", initial loss, weight imbalance",
    ),
    "weights start at zero": ("initial variance, no gradient", _STUCK),
    "units start alike": ("initial variance", _STUCK + ", weight imbalance"),
    "saturating activations in a deep network": (
        "gradient vanishes, saturation",
        _STUCK + ", saturation, weight imbalance",
    ),
    "saturated activations": ("saturation", _STUCK + ", saturation, initial loss"),
    "dead ReLU": ("dead units", _STUCK),
    "missing normalisation": (
        "gradient vanishes, gradient explodes, initial variance",
        f"{_STUCK}, {_TOO_FAST}, weight imbalance, initial loss",
    ),
    "post-norm transformer": (
        "gradient vanishes, gradient explodes, weight imbalance",
        f"{_STUCK}, {_TOO_FAST}, weight imbalance",
    ),
    "attention logits grow": ("saturation", f"{_TOO_FAST}, {_STUCK}"),
    "output logits drift": ("weight growth", f"{_TOO_FAST}, {_STUCK}"),
    "inputs not scaled": ("input scale", f"{_TOO_FAST}, {_STUCK}, initial loss"),
    "inputs shifted": ("input scale, input shift", _TOO_FAST),
    "bad batch": ("input scale, input shift, non-finite input, labels", _TOO_FAST),
    "data changed": ("input shift, labels, imbalance", _TOO_FAST),
    "labels changed": ("labels, imbalance", _TOO_FAST + ", plateau"),
    "label noise": ("labels", "overfitting, gradient noise, plateau, not fitted"),
    "class imbalance": ("imbalance, labels", "plateau, outputs alike, overfitting"),
    "overfitting": ("overfitting", "plateau, gradient vanishes"),
    "over-regularised": ("decay", _STUCK + ", weight growth"),
    "gradient noise dominates": ("gradient noise, tiny batch", "plateau, loss spike"),
    "frozen layer": (
        "unchanged weights, parameters not held, no gradient",
        "gradient vanishes, update too small, unused module",
    ),
    "unregistered parameters": (
        "unchanged weights, parameters not held",
        "no gradient, unused module, gradient explodes",
    ),
    "optimizer never stepped": (
        "unchanged weights, parameters not held",
        _STUCK + ", gradient explodes",
    ),
    "softmax applied twice": ("loss wiring", _STUCK),
    "activation before the loss": ("loss wiring", _STUCK),
    "wrong loss for the output": ("loss wiring", _STUCK + ", initial loss, labels"),
    "model in evaluation mode": ("batch mixing", "overfitting, plateau"),
    "train and evaluation differ": ("random at evaluation", "overfitting"),
    "batch normalisation on too few values": (
        "tiny batch",
        "gradient noise, overfitting, no gradient, outputs alike, dead units, plateau",
    ),
    "discriminator too strong": (
        "weight imbalance",
        f"{_STUCK}, divergence, saturation",
    ),
    "reward scale": ("gradient explodes", _TOO_FAST),
    "replicas differ": ("", "unchanged weights, divergence"),
}


def _split(text: str) -> frozenset[str]:
    return frozenset(word for part in text.split(",") if (word := part.strip()))


ACCEPTABLE: Mapping[str, Acceptable] = {
    cause: Acceptable(_split(root), _split(root) | _split(hit))
    for cause, (root, hit) in _TABLE.items()
}


def acceptable(causes: Iterable[str]) -> Acceptable:
    """What counts for any of several causes; a cause is also a name for itself."""
    found = [ACCEPTABLE[cause] for cause in causes if cause in ACCEPTABLE]
    itself = frozenset(causes)
    root = itself.union(*(one.root for one in found))
    return Acceptable(root, root.union(*(one.hit for one in found)))
