"""Dead units: ReLU layers in which units put out zero whatever comes in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from surefoot.signatures.learning import learning
from surefoot.signatures.profile import columns, lasting_shares
from surefoot.signatures.statistics import level
from surefoot.types import Event, Evidence, Facts, Finding, Series, Severity, Signature

BOUND = 0.9
SOURCE = (
    "nine tenths of the units, in a run that does not learn: healthy ReLU networks "
    "keep up to half dead (Lu et al. 2020; benchmarks/calibrate_signatures.py)"
)


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
    onset = int(shares.steps[begin])
    severity: Severity = "critical" if learning(series, facts).trouble else "info"
    name = f"dead_share of {layers[place]}, step {onset} to the end"
    observed = level(shares.of(layers[place])[begin:])
    return [
        Finding(
            signature="dead_units",
            layer=layers[place],
            onset=onset,
            severity=severity,
            evidence=(Evidence(name, observed, BOUND, SOURCE),),
            layers=tuple(layers[i] for i in places),
            stream=facts.stream,
        )
    ]


SIGNATURE = Signature(
    name="dead_units",
    about="Units of a ReLU layer put out zero on every example and get no gradient.",
    needs=("dead_share",),
    detect=detect,
    uses=("loss",),
)
