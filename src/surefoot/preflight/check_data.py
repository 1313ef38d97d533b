"""Checks of the batch: a Trial comes in, Notices go out."""

from __future__ import annotations

import math

import torch

from surefoot.preflight.report import Notice
from surefoot.preflight.signs import (
    EXPERIMENT,
    LARGE_INPUT,
    LITTLE,
    SATURATED,
    explodes,
    first_input,
    inputs_equal,
    inputs_large,
    learns_nothing,
    overshoots,
    weighted,
)
from surefoot.preflight.trial import Trial
from surefoot.types import Evidence

MOSTLY = 0.9
ENOUGH = 16
"""Rows from which the share of a class says something."""

EARLY = 2
"""Behind so many layers, a normalisation has undone the scale of the inputs."""


def finite_inputs(trial: Trial) -> list[Notice]:
    """What the first layer is given is finite."""
    first = trial.layers[0] if trial.layers else None
    if first is None or first.input_finite:
        return []
    seen = Evidence(f"finite input of {first.name or 'the model'}", 0.0, 1.0, "data")
    detail = "The first layer was given NaN or infinity."
    return [Notice("SF401", "error", "run", detail, (seen,))]


def scale(trial: Trial) -> list[Notice]:
    """Inputs have about unit size, or are normalised at once."""
    first = first_input(trial)
    if first is None or not inputs_large(trial) or not math.isfinite(first.input_rms):
        return []
    stuck = any(one.saturated > SATURATED for one in trial.layers[:-1])
    passed_on = any(one.input_rms > LARGE_INPUT for one in weighted(trial)[EARLY:])
    peak = trial.subject.peak
    own = [one.fall for one in trial.fits if one.factor <= 1.01 * peak]
    slow = bool(own) and max(own) < 2 * LITTLE
    harm = (
        slow or explodes(trial) or overshoots(trial) or learns_nothing(trial) or stuck
    )
    seen = Evidence("root mean square of the inputs", first.input_rms, LARGE_INPUT,
                    EXPERIMENT)  # fmt: skip
    detail = f"The first layer is given numbers of size {first.input_rms:.3g}."
    severity = "warning" if harm or passed_on else "info"
    return [Notice("SF402", severity, "run", detail, (seen,))]


def variety(trial: Trial) -> list[Notice]:
    """Examples differ from each other."""
    first = first_input(trial)
    if first is None or not inputs_equal(trial) or first.rows < 2:
        return []
    seen = Evidence("share of the inputs that differs", 0.0, 0.0, "data")
    detail = "All rows that the first layer is given are equal."
    return [Notice("SF403", "warning", "run", detail, (seen,))]


def classes(trial: Trial) -> list[Notice]:
    """The batch holds several classes, none nearly alone."""
    for call in trial.calls:
        if call.name != "cross_entropy" or call.target.is_floating_point():
            continue
        target = call.target.detach().flatten()
        ignored = int(call.settings.get("ignore_index", -100))
        target = target[target != ignored]
        if len(target) < ENOUGH:
            return []
        top = int(torch.bincount(target).max())
        share = top / len(target)
        if share > MOSTLY:
            id = "SF405" if top == len(target) else "SF406"
            seen = Evidence("share of the commonest class", share, MOSTLY, "the batch")
            detail = f"{share:.0%} of {len(target)} targets are of one class."
            return [Notice(id, "info", "run", detail, (seen,))]
    return []


ALL = (finite_inputs, scale, variety, classes)
