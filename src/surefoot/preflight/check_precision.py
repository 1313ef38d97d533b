"""Checks of the number format: a Trial comes in, Notices go out."""

from __future__ import annotations

import torch

from surefoot.preflight.report import Notice
from surefoot.preflight.trial import Trial
from surefoot.types import Evidence

LARGEST_HALF = 65504.0
NEAR_THE_END = 8.0
"""Outputs grow this much in the first epochs: half precision leaves no more room."""

LOST = 0.5
"""Share of a gradient that is zero: Micikevicius et al. 2018, arXiv:1710.03740, show a
network that fails to train at 0.67 and trains once the loss is scaled."""

SMALLEST_NORMAL = 2.0**-14
"""Below it float16 loses digits; zeros beside larger gradients are dead units'."""


def overflow(trial: Trial) -> list[Notice]:
    """Outputs in float16 have room to grow."""
    found = [one for one in trial.layers if one.half and one.finite]
    for one in found:
        if one.absmax > LARGEST_HALF / NEAR_THE_END:
            bound = LARGEST_HALF / NEAR_THE_END
            seen = Evidence(f"largest output of {one.name}", one.absmax, bound,
                            "IEEE 754, binary16")  # fmt: skip
            detail = f"{one.name} puts out {one.absmax:.3g} in float16."
            return [Notice("SF701", "warning", one.name, detail, (seen,))]
    return []


def underflow(trial: Trial) -> list[Notice]:
    """Gradients in float16 are not lost."""
    weights = dict(trial.subject.model.named_parameters())
    lost = {
        name: gradient.zeros
        for name, gradient in trial.gradients.items()
        if gradient is not None
        and weights[name].dtype == torch.float16
        and gradient.zeros > LOST
        and gradient.absmax < SMALLEST_NORMAL
    }
    if not lost:
        return []
    worst = max(lost, key=lambda name: lost[name])
    source = "Micikevicius et al. 2018, arXiv:1710.03740"
    seen = Evidence(f"lost gradients of {worst}", lost[worst], LOST, source)
    detail = f"{len(lost)} weights in float16 lose most of their gradient."
    return [Notice("SF702", "warning", worst, detail, (seen,), tuple(lost))]


ALL = (overflow, underflow)
