"""Dead units: ReLU layers in which units put out zero whatever comes in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from surefoot.signatures.learning import learning
from surefoot.signatures.profile import columns, lasting_shares
from surefoot.signatures.statistics import level, since
from surefoot.types import Event, Evidence, Facts, Finding, Series, Signature

BOUND = 0.9
SOURCE = (
    "nine tenths of the units, in a run that does not learn: healthy ReLU networks "
    "keep up to half dead (Lu et al. 2020; benchmarks/calibrate_signatures.py)"
)

ALL_BUT = 0.98
"""Share that is enough where the loss no longer falls and may be low already."""


def detect(
    series: Mapping[str, Series], facts: Facts, events: Sequence[Event]
) -> list[Finding]:
    """One finding for all layers that are dead at the end of the record."""
    shares = series["dead_share"]
    order = [m.name for m in facts.modules if m.name in shares.layers]
    layers = tuple(order) or shares.layers
    high = lasting_shares(columns(shares, layers), BOUND)
    if high is None:
        return []
    begin, place, places = high
    onset = _sharpened(series, shares, begin)
    course = learning(series, facts)
    name = f"dead_share of {layers[place]}, step {onset} to the end"
    observed = level(shares.of(layers[place])[begin:])
    harmful = course.trouble or (course.idle and observed >= ALL_BUT)
    return [
        Finding(
            signature="dead_units",
            layer=layers[place],
            onset=onset,
            severity="critical" if harmful else "info",
            evidence=(Evidence(name, observed, BOUND, SOURCE),),
            layers=tuple(layers[i] for i in places),
            stream=facts.stream,
        )
    ]


def _sharpened(series: Mapping[str, Series], shares: Series, begin: int) -> int:
    """The step of death, from the gradients where those are read more often.

    The gradient of a dead layer's weights is exactly zero from then on.
    """
    late = int(shares.steps[begin])
    grads = series.get("grad_norm")
    if grads is None or begin == 0:
        return late
    inside = (grads.steps > shares.steps[begin - 1]) & (grads.steps <= late)
    silent = (grads.values == 0)[inside]
    firsts = [
        s for i in range(silent.shape[1]) if (s := since(silent[:, i])) is not None
    ]
    return int(grads.steps[inside][min(firsts)]) if firsts else late


SIGNATURE = Signature(
    name="dead_units",
    about="Units of a ReLU layer put out zero on every example and get no gradient.",
    needs=("dead_share",),
    detect=detect,
    uses=("loss",),
)
