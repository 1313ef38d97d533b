"""Zero start: neighbouring weights begin at exactly zero and block each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from surefoot.signatures import network
from surefoot.signatures.profile import columns
from surefoot.types import Event, Evidence, Facts, Finding, Series, Signature

SOURCE = (
    "the gradient of each is a product with the other; one zero at the end of a "
    "residual branch is sound (Goyal et al. 2017; Zhang et al. 2019), two in a row "
    "are not"
)


def detect(
    series: Mapping[str, Series], facts: Facts, events: Sequence[Event]
) -> list[Finding]:
    """One finding if two weight matrices in a row start at zero."""
    size = series["weight_norm"]
    layers = tuple(name for name in network.weights(facts) if name in size.layers)
    if not layers or size.steps.size == 0 or size.steps[0] > 0:
        return []
    zero = columns(size, layers)[0] == 0
    pairs = np.flatnonzero(zero[:-1] & zero[1:])
    if pairs.size == 0:
        return []
    first = int(pairs[0])
    name = f"weight_norm of {layers[first]} and {layers[first + 1]}, step 0"
    return [
        Finding(
            signature="zero_start",
            layer=layers[first],
            onset=0,
            severity="warning",
            evidence=(Evidence(name, 0.0, 0.0, SOURCE),),
            layers=tuple(n for n, z in zip(layers, zero, strict=True) if z),
            stream=facts.stream,
        )
    ]


SIGNATURE = Signature(
    name="zero_start",
    about="Neighbouring weights start at zero, so neither gets a gradient.",
    needs=("weight_norm",),
    detect=detect,
)
