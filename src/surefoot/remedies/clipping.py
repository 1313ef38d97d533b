"""Clipping remedies: the run's own gradient norms come in, a threshold goes out."""

from __future__ import annotations

from collections.abc import Sequence

from surefoot.remedies.accused import setting
from surefoot.types import Change, Facts, Finding, Prescription

TIMES_MEDIAN = 2.5
"""Clip at 2.5 times the median norm: what the autopilot experiments of this project
settled on; the tuning playbook's 90th percentile lies near it."""

SAFE_NORM = 1.0
"""The learning rate was chosen while hardly any gradient arrived: with the gradient
back, plain SGD needs the clip in networks of 16 layers and more (7 of 8 runs without
it failed, none of 8 with it; digits, 16 and 20 layers)."""

SAFE_CLIP = Change("clip_norm", "set", SAFE_NORM)


def clip(findings: Sequence[Finding], facts: Facts) -> Prescription:
    """Clip the gradient norm at a multiple of the run's own median."""
    typical = max((float(f.detail.get("typical", 0.0)) for f in findings), default=0.0)
    bound = float(f"{TIMES_MEDIAN * typical:.2g}") if typical > 0 else 1.0
    now = setting(facts, "gradient clipping", "max_norm")
    if now is not None:
        bound = min(bound, float(f"{now / 2:.2g}"))
    return Prescription(
        remedy="clip the gradient norm",
        changes=(Change("clip_norm", "set", bound),),
        expect="a single batch cannot move the weights further than any other",
        source="Pascanu et al. 2013, arXiv:1211.5063; threshold from this run",
        advice=f"Clip the gradient norm at {bound:g} before each update."
        if now is None
        else f"Lower the bound at which the gradient norm is clipped, {now:g}, to "
        f"{bound:g}.",
    )
