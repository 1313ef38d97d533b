"""Dead units: ReLU layers in which units put out zero whatever comes in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from surefoot.signatures import network
from surefoot.signatures.learning import learning
from surefoot.signatures.profile import columns, lasting_shares
from surefoot.signatures.statistics import level
from surefoot.types import Event, Evidence, Facts, Finding, Series, Signature

BOUND = 0.9
SOURCE = (
    "nine tenths of the units, in a run that does not learn: healthy ReLU networks "
    "keep up to half dead (Lu et al. 2020; benchmarks/zoo)"
)
ALL_BUT = 0.98
"""Share that is enough where the loss no longer falls and may be low already."""
SOURCE_SILENT = (
    "a gradient of exactly zero, in float32 that is no rounding: nothing passes the "
    "activation; other layers of this run have gradients"
)
SILENT_STEPS = 10
RECTIFIED = ("ReLU", "ReLU6", "input")


@dataclass(frozen=True, slots=True)
class Death:
    """Dead layers: the one that died first, all of them, since when, on what."""

    layer: str
    layers: tuple[str, ...]
    onset: int
    share: float
    evidence: Evidence


def detect(
    series: Mapping[str, Series], facts: Facts, events: Sequence[Event]
) -> list[Finding]:
    """One finding for all layers that are dead at the end of the record."""
    death = _by_share(series, facts) or _by_gradient(series, facts)
    if death is None:
        return []
    course = learning(series, facts)
    harmful = course.trouble or (course.idle and death.share >= ALL_BUT)
    return [
        Finding(
            signature="dead_units",
            layer=death.layer,
            onset=death.onset,
            severity="critical" if harmful else "info",
            evidence=(death.evidence,),
            layers=death.layers,
            stream=facts.stream,
        )
    ]


def _by_share(series: Mapping[str, Series], facts: Facts) -> Death | None:
    """Layers whose units are nearly all dead in the last readings."""
    shares = series.get("dead_share")
    if shares is None:
        return None
    order = tuple(m.name for m in facts.modules if m.name in shares.layers)
    layers = order or shares.layers
    high = lasting_shares(columns(shares, layers), BOUND)
    if high is None:
        return None
    begin, place, places = high
    onset = int(shares.steps[begin])
    silent = _by_gradient(series, facts)
    if silent is not None and begin > 0 and shares.steps[begin - 1] < silent.onset:
        onset = min(onset, silent.onset)  # gradients are read at every step
    observed = level(shares.of(layers[place])[begin:])
    name = f"dead_share of {layers[place]}, step {onset} to the end"
    evidence = Evidence(name, observed, BOUND, SOURCE)
    dead = tuple(layers[i] for i in places)
    return Death(layers[place], dead, onset, observed, evidence)


def _by_gradient(series: Mapping[str, Series], facts: Facts) -> Death | None:
    """The layer behind which weights have had no gradient at all since some step.

    A dead layer passes nothing back: no weight from the input to it has a gradient,
    nor have those of the layer after it, which gets zeros only. So the last silent
    weight is the one after the dead layer. (Silence that does not reach the input
    is a branch that is not used, such as an expert that is never chosen.)
    """
    grads = series.get("grad_norm")
    kinds = [module.kind for module in facts.modules]
    if grads is None or grads.steps.size < SILENT_STEPS:
        return None
    if not any(kind in RECTIFIED for kind in kinds):
        return None
    layers = tuple(name for name in network.weights(facts) if name in grads.layers)
    values = grads.values[:, [grads.layers.index(name) for name in layers]]
    quiet = (values[-SILENT_STEPS:] == 0).all(axis=0)
    silent = np.flatnonzero(np.logical_and.accumulate(quiet))
    alive_now = bool((grads.values[-1] > 0).any())
    if len(silent) < 2 or not alive_now:
        return None
    alive = (values[:, silent] != 0).any(axis=1)
    begin = int(np.flatnonzero(alive)[-1]) + 1 if alive.any() else 0
    onset = int(grads.steps[begin])
    layer = _activation_after(layers[silent[-1] - 1], facts)
    name = f"grad_norm of {layers[silent[-1]]}, step {onset} to the end"
    evidence = Evidence(name, 0.0, 0.0, SOURCE_SILENT)
    return Death(layer, (layer,), onset, 1.0, evidence)


def _activation_after(weight: str, facts: Facts) -> str:
    """The rectifier next to a weight's module, or that module."""
    module = network.owner(facts, weight)
    names = [one.name for one in facts.modules]
    if module not in names:
        return module
    for after in facts.modules[names.index(module) + 1 :]:
        if after.kind in RECTIFIED:
            return after.name
        if any(word in after.kind for word in network.WEIGHTED):
            break
    return module


SIGNATURE = Signature(
    name="dead_units",
    about="Units of a ReLU layer put out zero on every example and get no gradient.",
    needs=(),
    detect=detect,
    uses=("dead_share", "grad_norm", "loss"),
)
