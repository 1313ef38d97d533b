"""Optimizer remedies: findings come in, changes of its constants go out."""

from __future__ import annotations

from collections.abc import Sequence

from surefoot.types import Change, Facts, Finding, Prescription


def shorter_memory(findings: Sequence[Finding], facts: Facts) -> Prescription:
    """A second moment that forgets sooner, so that it follows the gradient."""
    return Prescription(
        remedy="lower β₂",
        changes=(Change("betas.1", "set", 0.95),),
        expect="second_moment_ratio stays near 1 when gradients grow",
        source="Wortsman et al. 2023, arXiv:2304.13013; Molybog et al. 2023",
        advice="Set β₂ to 0.95.",
    )


def zero_gradients(findings: Sequence[Finding], facts: Facts) -> Prescription:
    """Set the gradients to zero between updates."""
    return Prescription(
        remedy="set gradients to zero",
        changes=(),
        expect="grad_norm as noisy as the loss, and no growth from the first step on",
        source="torch.optim: backward adds to the gradients that are there",
        advice="Call optimizer.zero_grad() once for each update, before backward.",
    )
