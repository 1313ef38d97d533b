"""Data remedies: evidence on a batch comes in, what to do with it goes out."""

from __future__ import annotations

from collections.abc import Sequence

from surefoot.types import Change, Facts, Finding, Prescription


def skip_outliers(findings: Sequence[Finding], facts: Facts) -> Prescription:
    """Skip batches whose gradient lies far outside the run's own range."""
    return Prescription(
        remedy="skip outlier batches",
        changes=(Change("batch", "skip", "outlier"),),
        expect="the loss goes on as before the bad batch",
        source="Chowdhery et al. 2022, arXiv:2204.02311 (PaLM skips such batches)",
        advice="Skip updates whose gradient norm is far above the recent median.",
    )


def inspect_batch(findings: Sequence[Finding], facts: Facts) -> Prescription:
    """Look at the batch of the step that is named."""
    step = min((f.onset for f in findings), default=0)
    return Prescription(
        remedy="inspect the batch",
        changes=(),
        expect="a corrupted, unscaled or mislabelled example",
        source="input_absmax and loss of this run at that step",
        advice=f"Look at the inputs and targets of step {step}.",
    )


def check_wiring(findings: Sequence[Finding], facts: Facts) -> Prescription:
    """What to check when nothing in the network explains that it does not learn."""
    return Prescription(
        remedy="check data and loss",
        changes=(),
        expect="the network can fit a single batch",
        source="Karpathy 2019, A recipe for training neural networks",
        advice="Train on one batch until it is fitted; if that fails, check that "
        "targets belong to their inputs, that the loss gets what it expects (logits "
        "or probabilities) and that gradients are zeroed at every step.",
    )


def scale_inputs(findings: Sequence[Finding], facts: Facts) -> Prescription:
    """Zero mean and unit deviation for the inputs."""
    return Prescription(
        remedy="scale the inputs",
        changes=(),
        expect="input_std near 1, and a first loss near that of a guess",
        source="LeCun et al. 1998, Efficient BackProp",
        advice="Subtract the mean of the training inputs and divide by their standard "
        "deviation; pixels are divided by 255 first.",
    )
