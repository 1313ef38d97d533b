"""Stale second moment: Adam's v no longer fits the gradient, updates are too long."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from surefoot.signatures.learning import learning
from surefoot.signatures.statistics import median_over_time
from surefoot.types import Event, Evidence, Facts, Finding, Series, Severity, Signature

BOUND = 5.0
SOURCE = (
    "RMS of g²/v is 1 where v fits (Molybog et al. 2023, arXiv:2304.09871; Wortsman et "
    "al. 2023, arXiv:2304.13013); 5 from benchmarks/calibrate_signatures.py"
)


def detect(
    series: Mapping[str, Series], facts: Facts, events: Sequence[Event]
) -> list[Finding]:
    """One finding for the tensors whose second moment was stale."""
    rows = series["second_moment_ratio"]
    if rows.steps.size < 4:
        return []
    values = rows.values.astype(np.float64)
    usual = median_over_time(values)
    with np.errstate(invalid="ignore"):
        high = (values > BOUND) & (values > BOUND * usual[None, :])
    if not high.any():
        return []
    begin = int(np.flatnonzero(high.any(axis=1))[0])
    onset = int(rows.steps[begin])
    order = np.argsort(-np.nan_to_num(values[begin]))
    layers = tuple(rows.layers[i] for i in order if high[begin, i])
    course = learning(series, facts)
    harmful = course.trouble and course.onset <= onset + 50
    severity: Severity = "warning" if harmful else "info"
    name = f"second_moment_ratio of {layers[0]}, step {onset}"
    observed = float(values[begin].max())
    return [
        Finding(
            signature="stale_second_moment",
            layer=layers[0],
            onset=onset,
            severity=severity,
            evidence=(Evidence(name, observed, BOUND, SOURCE),),
            layers=layers,
            stream=facts.stream,
        )
    ]


SIGNATURE = Signature(
    name="stale_second_moment",
    about="Adam's second moment is too small for the gradient, so updates are long.",
    needs=("second_moment_ratio",),
    detect=detect,
    uses=("loss",),
)
