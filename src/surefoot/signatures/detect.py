"""All signatures over one stream: its series come in, findings go out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from surefoot.signatures import (
    accumulating,
    activation_scale,
    dead_units,
    divergence,
    exploding,
    frozen,
    input_scale,
    loss_spike,
    nonfinite,
    not_learning,
    oscillation,
    saturation,
    stale_moment,
    update_ratio,
    vanishing,
    zero_start,
)
from surefoot.types import Event, Facts, Finding, Series, Signature

ALL: tuple[Signature, ...] = (
    nonfinite.SIGNATURE,
    divergence.SIGNATURE,
    loss_spike.SIGNATURE,
    not_learning.SIGNATURE,
    exploding.SIGNATURE,
    vanishing.SIGNATURE,
    activation_scale.SIGNATURE,
    input_scale.SIGNATURE,
    zero_start.SIGNATURE,
    dead_units.SIGNATURE,
    saturation.SIGNATURE,
    frozen.SIGNATURE,
    accumulating.SIGNATURE,
    update_ratio.SIGNATURE,
    stale_moment.SIGNATURE,
    oscillation.SIGNATURE,
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
