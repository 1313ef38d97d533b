"""Learning-rate remedies: findings come in, changes of lr and warm-up go out."""

from __future__ import annotations

from collections.abc import Sequence

from surefoot.remedies.accused import setting
from surefoot.types import Change, Facts, Finding, Prescription

TARGET_RATIO = 3e-3
"""Relative update per step that trained all our healthy networks: a little above the
1e-3 of Karpathy (2015); benchmarks/zoo."""

SMALLEST, LARGEST = 1e-3, 1e3
STEPS_OF_WARMUP = 100


def lower(findings: Sequence[Finding], facts: Facts) -> Prescription:
    """Lower the learning rate to a usual update ratio, or by the jump it made."""
    ratio = measured(findings, "ratio", "high")
    jump = max((float(f.detail.get("lr_ratio", 1.0)) for f in findings), default=1.0)
    factor = 0.1
    if jump > 1.5:
        factor = 1 / jump
    elif ratio > 0:
        factor = TARGET_RATIO / ratio
    factor = _rounded(min(max(factor, SMALLEST), 0.5))
    return Prescription(
        remedy="lower the learning rate",
        changes=(Change("lr", "scale", factor),),
        expect="the loss falls without jumping, updates are near 0.3 % of the weights",
        source="update ratios: Karpathy 2015; You et al. 2017, arXiv:1708.03888",
        advice=f"Multiply the learning rate by {factor:g}.",
    )


def higher(findings: Sequence[Finding], facts: Facts) -> Prescription:
    """Raise the learning rate to a usual update ratio."""
    ratio = measured(findings, "ratio", "low")
    factor = TARGET_RATIO / ratio if ratio > 0 else 10.0
    factor = _rounded(min(max(factor, 2.0), LARGEST))
    return Prescription(
        remedy="raise the learning rate",
        changes=(Change("lr", "scale", factor),),
        expect="the loss begins to fall within tens of steps",
        source="update ratios: Karpathy 2015; You et al. 2017, arXiv:1708.03888",
        advice=f"Multiply the learning rate by {factor:g}.",
    )


def warm_up(findings: Sequence[Finding], facts: Facts) -> Prescription:
    """Let the learning rate grow from zero over the first steps, or over more."""
    now = setting(facts, "warm-up", "steps")
    steps = STEPS_OF_WARMUP if now is None else max(STEPS_OF_WARMUP, round(2 * now))
    return Prescription(
        remedy="warm up the learning rate",
        changes=(Change("warmup_steps", "set", float(steps)),),
        expect="no jump of the loss in the first steps at the same peak rate",
        source="Goyal et al. 2017, arXiv:1706.02677; Gilmer et al. 2021",
        advice=f"Let the learning rate grow over the first {steps} steps"
        + ("." if now is None else f", not {now:g}."),
    )


def measured(findings: Sequence[Finding], key: str, kind: str) -> float:
    """A number that a finding of some kind measured; 0 if none did."""
    for finding in findings:
        if finding.detail.get("kind") == kind and key in finding.detail:
            return float(finding.detail[key])
    return 0.0


def _rounded(factor: float) -> float:
    """One significant digit: the evidence gives no more."""
    return float(f"{factor:.0e}")
