"""All signatures over one stream: its series come in, findings go out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from surefoot.signatures import (
    accumulating,
    activation_scale,
    attention_logits,
    calibration,
    class_imbalance,
    dead_units,
    divergence,
    early_warning,
    epsilon,
    evaluated,
    evaluation_mode,
    exploding,
    few_values,
    frozen,
    gradient_noise,
    half_precision,
    input_scale,
    input_shift,
    label_noise,
    logit_drift,
    loss_spike,
    nonfinite,
    norm_gap,
    not_learning,
    oscillation,
    over_regularised,
    overfitting,
    overshoot,
    plateau,
    policy_collapse,
    saturation,
    stale_moment,
    symmetric_start,
    update_ratio,
    vanishing,
    wiring,
    zero_start,
)
from surefoot.types import Event, Facts, Finding, Series, Signature

ALL: tuple[Signature, ...] = (
    nonfinite.SIGNATURE,
    half_precision.SIGNATURE,
    wiring.SIGNATURE,
    evaluation_mode.SIGNATURE,
    evaluated.SIGNATURE,
    divergence.SIGNATURE,
    loss_spike.SIGNATURE,
    not_learning.SIGNATURE,
    exploding.SIGNATURE,
    vanishing.SIGNATURE,
    activation_scale.SIGNATURE,
    input_scale.SIGNATURE,
    input_shift.SIGNATURE,
    zero_start.SIGNATURE,
    symmetric_start.SIGNATURE,
    dead_units.SIGNATURE,
    saturation.SIGNATURE,
    frozen.SIGNATURE,
    accumulating.SIGNATURE,
    update_ratio.SIGNATURE,
    overshoot.SIGNATURE,
    stale_moment.SIGNATURE,
    early_warning.SIGNATURE,
    epsilon.SIGNATURE,
    oscillation.SIGNATURE,
    plateau.SIGNATURE,
    gradient_noise.SIGNATURE,
    attention_logits.SIGNATURE,
    logit_drift.SIGNATURE,
    label_noise.SIGNATURE,
    class_imbalance.SIGNATURE,
    overfitting.SIGNATURE,
    calibration.SIGNATURE,
    over_regularised.SIGNATURE,
    norm_gap.SIGNATURE,
    few_values.SIGNATURE,
    policy_collapse.SIGNATURE,
)


def detect(
    series: Mapping[str, Series], facts: Facts, events: Sequence[Event]
) -> list[Finding]:
    """Findings of all signatures whose quantities were recorded, worst first.

    `series` maps quantities of one stream to their readings; series without rows
    count as not recorded.
    """
    held = {name: one for name, one in series.items() if one.steps.size}
    found = [
        finding
        for signature in ALL
        if all(need in held for need in signature.needs)
        for finding in signature.detect(held, facts, events)
    ]
    rank = {"critical": 0, "warning": 1, "info": 2}
    return sorted(found, key=lambda one: (rank[one.severity], one.onset))
