"""The probes, in one visible tuple: nothing comes in, what to measure goes out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from surefoot.probes.activations import activation_statistics
from surefoot.probes.attention import attention_statistics
from surefoot.probes.batch import inputs
from surefoot.probes.gradients import grad_norm
from surefoot.probes.optimizer_state import learning_rates, second_moment_ratio
from surefoot.probes.outputs import output_statistics
from surefoot.probes.pairs import consecutive
from surefoot.probes.running import norm_gap
from surefoot.probes.weights import unit_spread, weight_and_update_norms
from surefoot.types import Moment, Reading


@dataclass(frozen=True, slots=True)
class Probe:
    """A function from the live step to readings, and when it runs.

    `when` is before or after the update, or when its loss and batch are told, which
    may be later. A dense probe runs at every step; others every ten steps or so, from
    step `first` on, at most `percent` of the training thread's CPU time; one that runs
    `once` does so at its first step only. `needs` may name what is prepared for it:
    "copies" (of the weights before the update), "activations", "output" (with its
    targets), "attention", "running" (statistics of batch norms), and "pair" (samples
    of the update before: then the probe runs one step after it was due).
    """

    name: str
    read: Callable[[Moment], list[Reading]]
    when: Literal["before", "after", "told"]
    dense: bool = False
    percent: float = 0.1
    needs: tuple[str, ...] = ()
    first: int = 0
    once: bool = False


ALL: tuple[Probe, ...] = (
    Probe("gradients", grad_norm, "before", dense=True),
    Probe("learning rate", learning_rates, "after", dense=True),
    Probe("inputs", inputs, "before", dense=True),
    Probe("spread of units", unit_spread, "before", once=True),
    Probe("weights", weight_and_update_norms, "after", percent=0.08, needs=("copies",)),
    Probe("optimizer state", second_moment_ratio, "after", percent=0.04),
    Probe(
        "activations",
        activation_statistics,
        "after",
        percent=0.1,
        needs=("activations",),
    ),
    Probe(
        "consecutive gradients", consecutive, "before", percent=0.03, needs=("pair",)
    ),
    Probe("outputs", output_statistics, "told", percent=0.02, needs=("output",)),
    Probe("batch norms", norm_gap, "after", percent=0.01, needs=("running",)),
    # Not at step 0, when functions that are compiled have not been yet.
    Probe(
        "attention",
        attention_statistics,
        "after",
        percent=0.02,
        needs=("attention",),
        first=1,
    ),
)
