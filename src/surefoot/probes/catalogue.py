"""The probes, in one visible tuple: nothing comes in, what to measure goes out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from surefoot.probes.activations import activation_statistics
from surefoot.probes.batch import inputs
from surefoot.probes.gradients import grad_norm
from surefoot.probes.optimizer_state import learning_rates, second_moment_ratio
from surefoot.probes.weights import weight_and_update_norms
from surefoot.types import Moment, Reading


@dataclass(frozen=True, slots=True)
class Probe:
    """A function from the live step to readings, and when it runs.

    `when` is before or after the update. A dense probe runs at every step; others
    every ten steps or so, at most `percent` of the training thread's CPU time.
    `needs` may name "copies" (of the weights before the update) and "activations".
    """

    name: str
    read: Callable[[Moment], list[Reading]]
    when: Literal["before", "after"]
    dense: bool = False
    percent: float = 0.1
    needs: tuple[str, ...] = ()


ALL: tuple[Probe, ...] = (
    Probe("gradients", grad_norm, "before", dense=True),
    Probe("learning rate", learning_rates, "before", dense=True),
    Probe("inputs", inputs, "before", dense=True),
    Probe("weights", weight_and_update_norms, "after", needs=("copies",)),
    Probe("optimizer state", second_moment_ratio, "after", percent=0.05),
    Probe(
        "activations",
        activation_statistics,
        "after",
        percent=0.15,
        needs=("activations",),
    ),
)
