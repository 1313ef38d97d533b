"""Attention logits: scores of attention grow until it looks at one place only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from surefoot.signatures.learning import learning
from surefoot.signatures.profile import columns
from surefoot.signatures.statistics import median_over_time
from surefoot.types import Event, Evidence, Facts, Finding, Series, Severity, Signature

BOUND = 40.0
NARROW = 0.4
GREW = 10.0
READINGS = 4
YOUNG = 5000
SOURCE = (
    "largest score of attention, ten times that of the first readings, where its "
    "entropy is below 0.4 of the uniform one; healthy small runs stay below 12 (Zhai "
    "et al. 2023, arXiv:2303.06296; benchmarks/zoo). Large networks reach 100 in long "
    "runs and diverge in the thousands (Dehghani et al. 2023, arXiv:2302.05442)"
)
FAR = 1000.0
"""Scores that are an alarm in a run of any age."""


def detect(
    series: Mapping[str, Series], facts: Facts, events: Sequence[Event]
) -> list[Finding]:
    """One finding for the layers whose attention has collapsed."""
    scores, entropy = series["attention_logit_absmax"], series["attention_entropy"]
    layers = tuple(name for name in scores.layers if name in entropy.layers)
    steps, at_scores, at_entropy = np.intersect1d(
        scores.steps, entropy.steps, assume_unique=True, return_indices=True
    )
    if steps.size < READINGS or not layers:
        return []
    size = columns(scores, layers, at_scores)
    narrow = columns(entropy, layers, at_entropy)
    grown = size > GREW * median_over_time(size[:2])[None, :]
    high = (size > BOUND) & (narrow < NARROW) & grown
    lasting = np.flatnonzero(high[-READINGS:].mean(axis=0) > 0.5)
    if lasting.size == 0:
        return []
    begins = {int(i): int(np.flatnonzero(high[:, i])[0]) for i in lasting}
    place = min(begins, key=lambda i: begins[i])
    observed = float(median_over_time(size[-READINGS:])[place])
    fast = int(steps[-1]) < YOUNG
    loud = fast or observed > FAR or learning(series, facts).idle
    severity: Severity = "warning" if loud else "info"
    name = f"attention_logit_absmax of {layers[place]}, last readings"
    return [
        Finding(
            signature="attention_logits",
            layer=layers[place],
            onset=int(steps[begins[place]]),
            severity=severity,
            evidence=(Evidence(name, observed, BOUND, SOURCE),),
            layers=tuple(layers[i] for i in lasting),
            stream=facts.stream,
        )
    ]


SIGNATURE = Signature(
    name="attention_logits",
    about="Scores of attention have grown until it looks at one place only.",
    needs=("attention_logit_absmax", "attention_entropy"),
    detect=detect,
    uses=("loss",),
)
