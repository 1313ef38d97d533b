"""Saturation: a bounded activation sits at the ends of its range, where it is flat."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from surefoot.signatures import network
from surefoot.signatures.learning import learning
from surefoot.signatures.profile import columns, lasting_shares
from surefoot.signatures.statistics import level
from surefoot.types import Event, Evidence, Facts, Finding, Series, Severity, Signature

BOUND = 0.5
SOURCE = (
    "half of the outputs (Glorot & Bengio 2010 start networks in the linear range; "
    "healthy ones begin below a fifth, benchmarks/zoo)"
)

SYMMETRIC = ("Tanh", "Hardtanh", "Softsign")
ALL_BUT = 0.98
"""Share that is enough where the loss no longer falls and may be low already."""


def detect(
    series: Mapping[str, Series], facts: Facts, events: Sequence[Event]
) -> list[Finding]:
    """One finding for all hidden layers that are saturated at the end."""
    shares = series["saturated_share"]
    layers = _hidden(shares, facts)
    if not layers:
        return []
    high = lasting_shares(columns(shares, layers), BOUND)
    if high is None:
        return []
    begin, place, places = high
    onset = int(shares.steps[begin])
    course = learning(series, facts)
    name = f"saturated_share of {layers[place]}, step {onset} to the end"
    observed = level(shares.of(layers[place])[begin:])
    harmful = course.trouble or (course.idle and observed >= ALL_BUT)
    born = _from_the_start(begin, layers[place], facts)
    severity: Severity = "warning" if born else "info"
    return [
        Finding(
            signature="saturation",
            layer=layers[place],
            onset=onset,
            severity="critical" if harmful else severity,
            evidence=(Evidence(name, observed, BOUND, SOURCE),),
            layers=tuple(layers[i] for i in places),
            stream=facts.stream,
        )
    ]


def _from_the_start(begin: int, layer: str, facts: Facts) -> bool:
    """Whether a symmetric activation was saturated before the first update.

    That is a fault of the initial weights or of the inputs, even if the rest of the
    network learns. A sigmoid may start nearly closed on purpose: a gate.
    """
    return begin == 0 and network.kinds(facts).get(layer, "") in SYMMETRIC


def _hidden(shares: Series, facts: Facts) -> tuple[str, ...]:
    """Recorded layers before the output: an output may saturate, that is its task."""
    depth = network.module_depths(facts)
    last = depth.get(network.output_module(facts), len(depth))
    found = [name for name in shares.layers if depth.get(name, 0) < last]
    return tuple(sorted(found, key=lambda name: depth.get(name, 0)))


SIGNATURE = Signature(
    name="saturation",
    about="A sigmoid or tanh sits at the flat ends of its range.",
    needs=("saturated_share",),
    detect=detect,
    uses=("loss",),
)
