"""Remedies for modes and statistics: findings come in, changes of modules go out."""

from __future__ import annotations

from collections.abc import Sequence

from surefoot.types import Change, Facts, Finding, Prescription

USUAL_MOMENTUM = 0.1
"""Of torch.nn.BatchNorm: the statistics forget nine tenths in some twenty batches."""


def training_mode(findings: Sequence[Finding], facts: Facts) -> Prescription:
    """Put the model back into training mode before it is trained on."""
    return Prescription(
        remedy="switch back to training mode",
        changes=(Change("mode", "set", "train"),),
        expect="dropout acts again, and running statistics move",
        source="documentation of torch.nn.Module.train",
        advice="Call model.train() at the start of each epoch, and after every "
        "evaluation that called model.eval().",
    )


def recompute_statistics(findings: Sequence[Finding], facts: Facts) -> Prescription:
    """Let the running statistics follow the batches within the run."""
    slow = any(
        technique.settings.get("momentum", USUAL_MOMENTUM) < USUAL_MOMENTUM
        for technique in facts.techniques
        if "batch norm" in technique.name
    ) or any(
        module.settings.get("momentum", USUAL_MOMENTUM) < USUAL_MOMENTUM
        for module in facts.modules
        if module.kind.startswith("BatchNorm")
    )
    change = Change("norm.momentum", "set", USUAL_MOMENTUM)
    return Prescription(
        remedy="recompute the running statistics",
        changes=(change,) if slow else (),
        expect="evaluation as good as training",
        source="Wu & Johnson 2021, arXiv:2105.07576",
        advice="Before evaluation take the statistics of fresh training batches "
        "(surefoot.nn.norm.recalibrate_bn), and use a momentum that fits the length "
        "of the run.",
    )


def other_norm(findings: Sequence[Finding], facts: Facts) -> Prescription:
    """Group norms in the place of batch norms."""
    return Prescription(
        remedy="normalise over something else than the batch",
        changes=(Change("norm", "replace", "group"),),
        expect="the same output in training and in evaluation",
        source="Wu & He 2018, arXiv:1803.08494",
        advice="Use GroupNorm or LayerNorm, which do not depend on the batch "
        "(surefoot.nn.norm.replace_norm), batch renormalisation, or a batch that "
        "gives each channel 32 values and more.",
    )
