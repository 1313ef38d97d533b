"""Input scale: the numbers that go into the network are far from unit size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from surefoot.signatures.learning import learning
from surefoot.signatures.statistics import level
from surefoot.types import Event, Evidence, Facts, Finding, Series, Signature

BOUND = 30.0
SOURCE = (
    "initialisations assume inputs of unit size (LeCun et al. 1998); pixels that "
    "nobody divided by 255 have a deviation of about 80"
)
READINGS = 5


def detect(
    series: Mapping[str, Series], facts: Facts, events: Sequence[Event]
) -> list[Finding]:
    """One finding if the first inputs are large; harmless if the run does well."""
    size = series["input_std"]
    spread = level(size.values[:READINGS])
    centre = series.get("input_mean")
    offset = abs(level(centre.values[:READINGS])) if centre is not None else 0.0
    observed = max(spread, offset)
    if observed < BOUND:
        return []
    course = learning(series, facts)
    return [
        Finding(
            signature="input_scale",
            layer="input",
            onset=int(size.steps[0]),
            severity="warning" if course.trouble or course.high_start else "info",
            evidence=(Evidence("input, first batches", observed, BOUND, SOURCE),),
            layers=("input",),
            stream=facts.stream,
        )
    ]


SIGNATURE = Signature(
    name="input_scale",
    about="Inputs are far from unit size, which initial weights assume.",
    needs=("input_std",),
    detect=detect,
    uses=("input_mean", "loss"),
)
