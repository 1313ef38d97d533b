"""A policy comes in, the rules that are in force go out."""

from __future__ import annotations

from surefoot.autopilot.divergence import Divergence
from surefoot.autopilot.flight import Rules
from surefoot.autopilot.policy import Policy
from surefoot.autopilot.spikes import Spikes


def rules_of(policy: Policy) -> Rules:
    """The rules of a mode.

    "guard" never touches a run that is healthy: it clips nothing, skips only what is
    not finite, and goes back only where far more is lost than in any healthy run of
    the zoo.
    """
    if policy.mode == "steer":
        return Rules(interventions=policy.interventions)
    return Rules(
        spikes=Spikes(skip=None, clip=None),
        divergence=Divergence(
            progress=0.9, deviations=20.0, first=0.3, smooth=0.1, row=20, loss=None
        ),
        frozen=None,
        raising=None,
        interventions=policy.interventions,
    )
