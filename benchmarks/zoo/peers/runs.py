"""The runs that all tools are put to: a fixed part of the zoo, half of it healthy.

None of them is one on which a bound of ours was chosen.
"""

from __future__ import annotations

from benchmarks.zoo.peers.count import Planted
from surefoot.zoo.catalogue import ALL, HOMES
from surefoot.zoo.controls import CONTROLS
from surefoot.zoo.harm import Harm, harm
from surefoot.zoo.scenario import Scenario, planted
from surefoot.zoo.task import Scores, Task
from surefoot.zoo.train import Nobody, scored, train

SEED = 1
"""Odd seeds report."""


FAULTS = (
    "rate_too_high", "rate_jump", "rate_too_low", "moment_jump", "never_zeroed",
    "half_asleep", "deep_sigmoid", "large_start", "exploding_recurrence", "zero_start",
    "constant_start", "dead_later", "saturated", "labels_changed", "unscaled_inputs",
    "corrupted_batch", "overfitting", "double_softmax", "wrong_loss", "unheld_layer",
    "log_of_negative", "zero_by_zero", "half_overflow", "attention_growth",
    "evaluation_mode", "tiny_norm_batches", "strong_critic", "rewards_jump",
)  # fmt: skip
"""Of each kind some; chosen before any tool was run on them."""


def faulty() -> list[Scenario]:
    """Each fault once, at strength 2 or 3, its home rotating with its place."""
    chosen = [fault for fault in ALL if fault.name in FAULTS]
    return [
        Scenario(fault.homes[place % len(fault.homes)], fault.name, 2 + place % 2, SEED)
        for place, fault in enumerate(chosen)
    ]


def healthy() -> list[Scenario]:
    """As many healthy runs: all homes, and controls at equal distances."""
    count = len(FAULTS) - len(HOMES)
    known = list(CONTROLS)
    controls = [known[k * len(known) // count] for k in range(count)]
    return [Scenario(name, None, 0, SEED) for name in (*HOMES, *controls)]


def build(scenario: Scenario) -> tuple[Task, Planted]:
    """The task of a scenario, and what is planted in it."""
    task, truth = planted(scenario)
    if truth is None:
        return task, Planted()
    return task, Planted(truth.causes, truth.onset, truth.layers)


def hurt(scenario: Scenario) -> Harm:
    """What a fault costs the run, against its twin."""
    return harm(_trained(scenario), _trained(scenario.twin))


def _trained(scenario: Scenario) -> Scores | None:
    task, _ = planted(scenario)
    train(task, Nobody())
    return scored(task)
