"""Optimizer remedies: findings come in, changes of its constants go out."""

from __future__ import annotations

from collections.abc import Sequence

from surefoot.types import Change, Facts, Finding, Prescription

FAR_LOWER = 0.01
"""Of the odds to be dropped: from 0.9 to 0.08, near the 0.1 that transformers drop
(Vaswani et al. 2017)."""


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
        changes=(Change("gradients", "zero", "after_step"),),
        expect="grad_norm as noisy as the loss, and no growth from the first step on",
        source="torch.optim: backward adds to the gradients that are there",
        advice="Call optimizer.zero_grad() once for each update, before backward.",
    )


def usual_epsilon(findings: Sequence[Finding], facts: Facts) -> Prescription:
    """An epsilon that is far below the gradients and still a number."""
    return Prescription(
        remedy="usual epsilon",
        changes=(Change("eps", "set", 1e-8),),
        expect="updates of about the learning rate in every weight",
        source="Kingma & Ba 2015, arXiv:1412.6980; Wortsman et al. 2023",
        advice="Set eps to 1e-8, and lower for large models with tiny gradients.",
    )


def less_regularisation(findings: Sequence[Finding], facts: Facts) -> Prescription:
    """Weight decay a tenth of what it is, or far lower dropout."""
    decay = float(facts.options.get("weight_decay") or 0.0)
    dropped = any("Dropout" in f.detail.get("kind", "") for f in findings)
    change = Change("weight_decay", "set", float(f"{0.1 * decay:.3g}"))
    if dropped:
        change = Change("dropout", "scale", FAR_LOWER)
    return Prescription(
        remedy="regularise less",
        changes=(change,),
        expect="the training loss falls below where it stood",
        source="Krogh & Hertz 1992; Srivastava et al. 2014",
        advice="Lower the dropout to 0.1 or 0.2; 0.5 is the most in use."
        if dropped
        else f"Lower weight_decay from {decay:g} to {0.1 * decay:g}.",
    )
