"""Where and when it started: findings come in, a layer and a step go out.

The earliest onset wins over later ones (victims), and a finding that names a layer
over one about the whole run.
"""

from __future__ import annotations

from collections.abc import Sequence

from surefoot.types import Facts, Finding

PRODUCERS = (
    "nonfinite",
    "frozen",
    "dead_units",
    "saturation",
    "activation_scale",
    "vanishing_gradients",
    "stale_second_moment",
    "exploding_gradients",
)
"""Signatures that say where: those about the forward pass before those about the
backward pass, which carries a fault to all layers below it."""


def onset(findings: Sequence[Finding]) -> int:
    """The earliest step at which any of the findings began."""
    return min((finding.onset for finding in findings), default=0)


def layer(findings: Sequence[Finding], facts: Facts) -> str:
    """The layer where it started, "run" if none of the findings names one."""
    named = [f for f in findings if f.layer not in ("", "run")]
    if not named:
        return "run"
    place = {name: i for i, name in enumerate(PRODUCERS)}
    first = min(named, key=lambda f: (place.get(f.signature, len(place)), f.onset))
    return first.layer
