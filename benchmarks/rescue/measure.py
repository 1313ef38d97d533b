"""One scenario measured: repaired, left alone, by random search, beside its twin."""

from __future__ import annotations

import math
import time
import zlib
from dataclasses import dataclass, replace

import numpy as np

from benchmarks.rescue.zoo_trainer import ZooTrainer, half
from surefoot.rescue.attempt import Attempt, Plan
from surefoot.rescue.judge import score
from surefoot.rescue.rescue import rescue
from surefoot.rescue.search import BUDGET, LEAST_TRIAL, MOST_SHARE, SHARE
from surefoot.types import Change
from surefoot.zoo.scenario import Scenario, planted
from surefoot.zoo.train import scored

REACHED = 0.95
Kind = tuple[str, str, tuple[float | str, ...]]


@dataclass(frozen=True, slots=True)
class Row:
    """What became of one scenario; numbers are of the half that chose nothing.

    `fault` is "" for a healthy run. `good` says for each branch whether it reached
    95 % of the twin (of a healthy run: of itself, left alone).
    """

    name: str
    fault: str
    part: str
    ending: str
    cause: str
    changes: tuple[str, ...]
    spent: float
    left_alone: float
    rescued: float
    searched: float
    twin: float
    good: dict[str, bool]


def measured_before(scenario: Scenario, end: float) -> Row | None:
    """The row of a scenario, None if the clock (`time.monotonic`) is past the end."""
    return measured(scenario) if time.monotonic() < end else None


def measured(scenario: Scenario) -> Row:
    """Rescue a scenario, and search at random with what the rescue may spend."""
    trainer = ZooTrainer(scenario)
    found = rescue(trainer)
    alone = trainer.reported(Plan())
    plan = Plan() if found.best is None else found.best.attempt.plan
    rescued = trainer.reported(plan)
    if scenario.fault is None:
        searched = twin = alone
    else:
        searched = trainer.reported(at_random(trainer, scenario.name))
        beside = ZooTrainer(scenario.twin)
        whole = Plan(until=trainer.length)
        beside.attempt(whole)
        twin = beside.reported(whole)
    start = untrained(scenario.twin)
    higher = trainer.measure.higher_is_better
    branches = {"left alone": alone, "rescued": rescued, "searched": searched}
    return Row(
        name=scenario.name,
        fault=scenario.fault or "",
        part=scenario.part,
        ending=found.ending,
        cause="" if found.cause is None else found.cause.cause,
        changes=tuple(f"{c.knob} {c.op} {c.amount}" for c in plan.changes),
        spent=found.spent,
        left_alone=_known(alone),
        rescued=_known(rescued),
        searched=_known(searched),
        twin=_known(twin),
        good={
            name: reached(_known(one), _known(twin), _known(start), higher)
            for name, one in branches.items()
        },
    )


def reached(value: float, twin: float, start: float, higher: bool) -> bool:
    """Whether a score is 95 % of the twin's, or of its way from an untrained network.

    >>> reached(0.92, 0.96, 0.1, True), reached(0.3, 0.2, 2.2, False)
    (True, True)
    """
    if not math.isfinite(value):
        return False
    if higher:
        return value >= REACHED * twin
    return value <= start + REACHED * (twin - start)


def untrained(scenario: Scenario) -> float | None:
    """The measure of a task before its first update."""
    task, _ = planted(scenario)
    return half(scored(task), 1)


def _known(value: float | None) -> float:
    return math.nan if value is None else value


def at_random(trainer: ZooTrainer, name: str) -> Plan:
    """The best of random plans, at the budget of a rescue: short ones, one to its end.

    Its short trials are as long as the rescue's are for trouble of the start.

    It may draw from the knobs that the rescue's remedies use, one to three at a time.
    """
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    steps = max(trainer.length, 1)
    until = max(1, round(max(SHARE * steps, min(LEAST_TRIAL, MOST_SHARE * steps))))
    tried: list[Attempt] = []
    count = int((BUDGET - 1) * steps / until + 1e-6)
    for _ in range(3 * count):
        if len(tried) < count:
            attempt = trainer.attempt(Plan(_drawn(rng), 0, until))
            if not attempt.refused:
                tried.append(attempt)
    ranked = sorted(tried, key=lambda one: -score(one, trainer.measure))
    best = ranked[0].plan if ranked else Plan()
    whole = replace(best, until=steps)
    trainer.attempt(whole)
    return whole


def _drawn(rng: np.random.Generator) -> tuple[Change, ...]:
    picked = rng.permutation(len(KINDS))[: int(rng.integers(1, 4))]
    return tuple(_amount(KINDS[int(one)], rng) for one in picked)


def _amount(
    kind: tuple[str, str, tuple[float | str, ...]], rng: np.random.Generator
) -> Change:
    knob, op, amounts = kind
    if amounts == RANGE:
        low, high = (math.log(float(one)) for one in RANGE)
        return Change(knob, op, float(f"{math.exp(rng.uniform(low, high)):.2g}"))
    return Change(knob, op, amounts[int(rng.integers(len(amounts)))])


RANGE: tuple[float | str, ...] = (1e-3, 1e3)
KINDS: tuple[Kind, ...] = (
    ("lr", "scale", RANGE),
    ("lr", "scale", RANGE),
    ("warmup_steps", "set", (20.0, 50.0, 100.0)),
    ("clip_norm", "set", (0.1, 1.0, 10.0)),
    ("betas.1", "set", (0.9, 0.95, 0.99)),
    ("eps", "set", (1e-10, 1e-8, 1e-6)),
    ("weight_decay", "set", (0.0, 1e-3, 1e-2)),
    ("batch", "skip", ("nonfinite", "outlier")),
    ("gradients", "zero", ("after_step",)),
    ("init", "set", ("kaiming_normal", "xavier_normal")),
    ("init", "reset", ("own",)),
    ("activation", "replace", ("relu", "gelu")),
    ("norm", "insert", ("layer_norm",)),
    ("norm", "replace", ("group",)),
    ("skip", "insert", (1.0,)),
    ("units", "reinitialize", ("dead",)),
    ("dropout", "scale", (0.01, 0.1)),
    ("mode", "set", ("train",)),
    ("parameters", "register", ("all",)),
)
"""What is drawn from; the rate stands twice, as it is what matters most."""
