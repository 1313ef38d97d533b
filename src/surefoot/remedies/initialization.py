"""Initialisation remedies: accused layers come in, how to start them goes out."""

from __future__ import annotations

from collections.abc import Sequence

from surefoot.remedies.accused import activations, weighted
from surefoot.remedies.clipping import SAFE_CLIP
from surefoot.types import Change, Facts, Finding, Prescription

SATURATING = ("Sigmoid", "Tanh", "Softsign", "Hardtanh", "Hardsigmoid", "LogSigmoid")


def kaiming(findings: Sequence[Finding], facts: Facts) -> Prescription:
    """Weights scaled for ReLU, so that the signal keeps its size at any depth."""
    return Prescription(
        remedy="Kaiming initialisation",
        changes=(
            Change("init", "set", "kaiming_normal", weighted(findings, facts)),
            SAFE_CLIP,
        ),
        expect="activations and gradients have the same size in all layers at step 0",
        source="He et al. 2015, arXiv:1502.01852",
        advice="Draw the weights from N(0, 2 / fan_in), biases zero.",
    )


def xavier(findings: Sequence[Finding], facts: Facts) -> Prescription:
    """Weights scaled for tanh and linear layers."""
    return Prescription(
        remedy="Xavier initialisation",
        changes=(
            Change("init", "set", "xavier_normal", weighted(findings, facts)),
            SAFE_CLIP,
        ),
        expect="activations and gradients have the same size in all layers at step 0",
        source="Glorot & Bengio 2010",
        advice="Draw the weights from N(0, 2 / (fan_in + fan_out)), biases zero.",
    )


def own_start(findings: Sequence[Finding], facts: Facts) -> Prescription:
    """The first weights that torch itself draws, in place of those that were set."""
    return Prescription(
        remedy="torch's own start",
        changes=(Change("init", "reset", "own"), SAFE_CLIP),
        expect="activations and gradients within a decade of unit size at step 0",
        source="reset_parameters of the layers of torch.nn",
        advice="Leave the first weights as torch draws them.",
    )


def rescale(findings: Sequence[Finding], facts: Facts) -> Prescription:
    """The start that fits the activations of the network."""
    bounded = activations(facts, SATURATING)
    return xavier(findings, facts) if bounded else kaiming(findings, facts)
