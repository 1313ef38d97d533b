"""Updates since a restore come in, a factor of the rate goes out.

The first updates of Adam are all of full length, whatever the gradient, and early
curvature is high: a run that comes through them slowly bears higher rates later (Kalra
and Barkeshli 2024, arXiv:2406.09405).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Warming:
    """A short geometric warm-up after each restore.

    Attributes:
        start: the first factor.
        updates: after how many it is 1.
    """

    start: float = 0.1
    updates: int = 10


def warmth(moved: int, rule: Warming) -> float:
    """The factor after so many updates.

    >>> [round(warmth(n, Warming()), 2) for n in (0, 5, 10, 1000)]
    [0.1, 0.32, 1.0, 1.0]
    """
    return rule.start ** max(0.0, 1 - moved / rule.updates)
