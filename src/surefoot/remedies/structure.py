"""Structural remedies: accused layers come in, other activations and norms go out."""

from __future__ import annotations

from collections.abc import Sequence

from surefoot.remedies.accused import activations, weighted
from surefoot.remedies.clipping import SAFE_CLIP
from surefoot.remedies.initialization import SATURATING
from surefoot.types import Change, Facts, Finding, Prescription

RECTIFIED = ("ReLU", "ReLU6")
ANY = (*SATURATING, *RECTIFIED, "LeakyReLU", "GELU", "SiLU", "ELU", "SELU", "Mish")


def relu_and_kaiming(findings: Sequence[Finding], facts: Facts) -> Prescription:
    """ReLU in place of the saturating activations, with the start that fits it."""
    accused = activations(facts, SATURATING)
    return Prescription(
        remedy="ReLU with Kaiming initialisation",
        changes=(
            Change("activation", "replace", "relu", accused),
            Change("init", "set", "kaiming_normal", weighted(findings, facts)),
            SAFE_CLIP,
        ),
        expect="gradients of about one size from the first layer to the last",
        source="Glorot et al. 2011; He et al. 2015, arXiv:1502.01852",
        advice="Replace the saturating activations by ReLU and draw the weights from "
        "N(0, 2 / fan_in); clip the gradient norm, since far more of it arrives.",
    )


def gelu(findings: Sequence[Finding], facts: Facts) -> Prescription:
    """GELU in place of ReLU: no unit is silent for good."""
    accused = activations(facts, RECTIFIED)
    return Prescription(
        remedy="GELU in place of ReLU",
        changes=(
            Change("activation", "replace", "gelu", accused),
            Change("init", "set", "kaiming_normal", weighted(findings, facts)),
        ),
        expect="every unit gets a gradient again",
        source="Hendrycks & Gimpel 2016, arXiv:1606.08415; Lu et al. 2020",
        advice="Replace ReLU by GELU (surefoot.nn.init.replace_activation) and start "
        "the layers afresh.",
    )


def layer_norm(findings: Sequence[Finding], facts: Facts) -> Prescription:
    """LayerNorm before each activation: the signal keeps its size by force."""
    accused = activations(facts, ANY)
    return Prescription(
        remedy="LayerNorm before the activations",
        changes=(Change("norm", "insert", "layer_norm", accused), SAFE_CLIP),
        expect="activations of unit size in all layers, whatever the weights",
        source="Ba et al. 2016, arXiv:1607.06450",
        advice="Insert a LayerNorm before each hidden activation "
        "(surefoot.nn.init.insert_norm).",
    )


def residual_path(findings: Sequence[Finding], facts: Facts) -> Prescription:
    """A path around each hidden layer: the signal arrives whatever the weights do."""
    return Prescription(
        remedy="a path around each hidden layer",
        changes=(Change("skip", "insert", 1.0), SAFE_CLIP),
        expect="activations and gradients reach all layers at full size",
        source="He et al. 2016, arXiv:1603.05027 (identity mappings)",
        advice="Write x + layer(x) for each hidden layer that keeps its width "
        "(surefoot.nn.init.add_skip).",
    )


def register(findings: Sequence[Finding], facts: Facts) -> Prescription:
    """Hand the parameters to the optimizer, or mend the cut graph."""
    names = ", ".join(dict.fromkeys(f.layer for f in findings if f.layer != "run"))
    left_out = any(p.trainable and not p.held for p in facts.parameters)
    change = Change("parameters", "register", "all")
    return Prescription(
        remedy="train the frozen parameters",
        changes=(change,) if left_out else (),
        expect="update_norm of these parameters is above zero",
        source="an optimizer changes only what it was given, and only with gradients",
        advice=f"Give {names or 'these parameters'} to the optimizer, and look for "
        "detach(), .data, torch.no_grad() or a numpy round trip behind them; if they "
        "are meant to rest, set requires_grad_(False).",
    )


def revive(findings: Sequence[Finding], facts: Facts) -> Prescription:
    """Draw the dead units anew, and leave the others as they have become."""
    accused = tuple(dict.fromkeys(f.layer for f in findings if f.layer != "run"))
    return Prescription(
        remedy="revive the dead units",
        changes=(Change("units", "reinitialize", "dead"),),
        expect="the share of dead units falls to that of the other layers",
        source="Sokar et al. 2023, arXiv:2302.12902 (dormant neurons)",
        advice=f"Draw the weights of dead units anew ({', '.join(accused)}).",
    )
