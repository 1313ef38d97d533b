"""Policy collapse: an agent is certain of its actions before it has tried much."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from surefoot.signatures.heads import is_agent
from surefoot.signatures.learning import learning
from surefoot.signatures.statistics import level, since
from surefoot.types import Event, Evidence, Facts, Finding, Series, Severity, Signature

BOUND = 0.02
READINGS = 5
HIGH = 0.6
SOURCE = (
    "entropy of the output over that of a uniform one, from near 1 to nearly nothing "
    "(Mnih et al. 2016, arXiv:1602.01783 keep it up with a bonus; benchmarks/zoo)"
)


def detect(
    series: Mapping[str, Series], facts: Facts, events: Sequence[Event]
) -> list[Finding]:
    """One finding if the output is certain to the end while nothing was won by it.

    A classifier that is certain has a small loss; an agent's loss says nothing.
    """
    rows = series["output_entropy"]
    values = rows.values[:, 0].astype(np.float64)
    if values.size < 2 * READINGS or level(values[:2]) < HIGH:
        return []
    certain = level(values[-READINGS:], 1.0)  # what is not finite is not certain
    if certain > BOUND:
        return []
    course = learning(series, facts)
    if course.state == "broken":
        return []  # scores that are not numbers have no entropy
    scored = course.state == "learning" or "accuracy" in series
    if scored and not is_agent(events):
        return []
    begin = since(values < 2 * BOUND) or 0
    severity: Severity = "warning" if facts.stream == "main" else "info"
    return [
        Finding(
            signature="policy_collapse",
            layer="run",
            onset=int(rows.steps[begin]),
            severity=severity,
            evidence=(
                Evidence(
                    "output_entropy, last readings",
                    certain,
                    BOUND,
                    SOURCE,
                ),
            ),
            layers=("run",),
            stream=facts.stream,
        )
    ]


SIGNATURE = Signature(
    name="policy_collapse",
    about="The output became certain early, and nothing says that it is right.",
    needs=("output_entropy", "loss"),
    detect=detect,
    uses=("accuracy",),
)
