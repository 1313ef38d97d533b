"""Names of remedies, findings and facts come in, prescriptions with amounts go out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from surefoot.remedies import (
    advice,
    clipping,
    data,
    initialization,
    learning_rate,
    modes,
    numerics,
    optimizer,
    structure,
)
from surefoot.types import Change, Facts, Finding, Prescription

Remedy = Callable[[Sequence[Finding], Facts], Prescription]

ALL: Mapping[str, Remedy] = {
    "lower lr": learning_rate.lower,
    "higher lr": learning_rate.higher,
    "warm-up": learning_rate.warm_up,
    "clip": clipping.clip,
    "guard": numerics.guard,
    "skip non-finite": numerics.skip_nonfinite,
    "relu and kaiming": structure.relu_and_kaiming,
    "gelu": structure.gelu,
    "layer norm": structure.layer_norm,
    "register": structure.register,
    "kaiming": initialization.kaiming,
    "rescale": initialization.rescale,
    "own start": initialization.own_start,
    "revive": structure.revive,
    "residual path": structure.residual_path,
    "training mode": modes.training_mode,
    "recompute statistics": modes.recompute_statistics,
    "other norm": modes.other_norm,
    "skip outliers": data.skip_outliers,
    "inspect batch": data.inspect_batch,
    "scale inputs": data.scale_inputs,
    "check wiring": data.check_wiring,
    "zero gradients": optimizer.zero_gradients,
    "shorter memory": optimizer.shorter_memory,
    "usual epsilon": optimizer.usual_epsilon,
    "less regularisation": optimizer.less_regularisation,
    **advice.ALL,
}

FOR_LAYERS = (("activation", "replace"), ("norm", "insert"), ("init", "set"))
"""Changes of the structure that name the layers they are for."""


def prescribe(
    remedies: Sequence[str], findings: Sequence[Finding], facts: Facts
) -> tuple[Prescription, ...]:
    """The named remedies with amounts from the evidence, in the order given.

    A remedy whose layers are not in the network (no activation to replace) is left
    out.

    Raises:
        KeyError: a name that is not in `ALL`; the message lists those that are.
    """
    found: list[Prescription] = []
    for name in remedies:
        if name not in ALL:
            raise KeyError(f"unknown remedy {name!r}; expected one of {', '.join(ALL)}")
        prescription = ALL[name](findings, facts)
        if all(_applies(change) for change in prescription.changes):
            found.append(prescription)
    return tuple(found)


def _applies(change: Change) -> bool:
    """Whether a change that is meant for some layers has any."""
    return (change.knob, change.op) not in FOR_LAYERS or bool(change.layers)
