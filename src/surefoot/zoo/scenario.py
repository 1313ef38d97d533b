"""Scenarios: homes, controls, faults and seeds come in, tasks with their truth go out.

A scenario has a stable name, and always gives the same run. Even seeds are for
tuning, odd ones report; some homes and controls only report.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from typing import Literal

import numpy as np
import torch

from surefoot.zoo.catalogue import ALL, HOMES, REPORTED_HOMES, Fault, fault_named
from surefoot.zoo.controls import CONTROLS, REPORTED_CONTROLS
from surefoot.zoo.task import Task, Truth

Part = Literal["tuning", "reporting"]
HOMES_A_SEED = 3
"""Homes that a fault is planted in for each seed; they rotate with it."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """One run of the zoo; without a fault it is healthy, and may be a twin.

    >>> Scenario("mlp", "rate_too_high", 2, 0).name
    'rate_too_high-mlp-2-0'
    >>> Scenario("mlp", "rate_too_high", 2, 0).twin.name
    'mlp-0'
    """

    home: str
    fault: str | None
    strength: int
    seed: int

    @property
    def name(self) -> str:
        """Name of its record."""
        if self.fault is None:
            return f"{self.home}-{self.seed}"
        return f"{self.fault}-{self.home}-{self.strength}-{self.seed}"

    @property
    def twin(self) -> Scenario:
        """The same run without the fault."""
        return Scenario(self.home, None, 0, self.seed)

    @property
    def part(self) -> Part:
        """Whether bounds may be chosen on it."""
        reported = self.home in REPORTED_HOMES or self.home in REPORTED_CONTROLS
        return "reporting" if reported or self.seed % 2 else "tuning"


def planted(scenario: Scenario) -> tuple[Task, Truth | None]:
    """The task of a scenario, and what was planted in it."""
    task = _healthy(scenario)
    if scenario.fault is None:
        return task, None
    rng = np.random.default_rng(_number(scenario.name))
    fault = fault_named(scenario.fault)
    return task, fault.plant(task, rng, scenario.strength)


def _healthy(scenario: Scenario) -> Task:
    seed = _number(scenario.twin.name)
    # Networks draw their first weights from torch's own stream.
    torch.manual_seed(seed)
    make = HOMES.get(scenario.home) or CONTROLS[scenario.home]
    task = make(np.random.default_rng(seed))
    task.training_seed = seed
    return task


def _number(text: str) -> int:
    return zlib.crc32(text.encode())


def scenarios(seeds: Iterable[int]) -> list[Scenario]:
    """All scenarios of some seeds: twins, controls, and faults in rotating homes."""
    found: list[Scenario] = []
    for seed in seeds:
        found += [Scenario(home, None, 0, seed) for home in (*HOMES, *CONTROLS)]
        for place, fault in enumerate(ALL):
            found += _planted_in(fault, place, seed)
    return found


def _planted_in(fault: Fault, place: int, seed: int) -> list[Scenario]:
    """A fault in up to three of its homes, at a strength that rotates too."""
    count = min(HOMES_A_SEED, len(fault.homes))
    first = place + count * seed
    return [
        Scenario(
            fault.homes[(first + k) % len(fault.homes)],
            fault.name,
            1 + (place + k + seed // 2 + seed % 2) % 3,
            seed,
        )
        for k in range(count)
    ]


def quick() -> list[Scenario]:
    """A fixed sample: each fault once, in its first home, and as many healthy runs.

    It is of seed 1, so no bound was chosen on it.
    """
    faulty = [
        Scenario(fault.homes[0], fault.name, 2 + place % 2, 1)
        for place, fault in enumerate(ALL)
    ]
    twins = dict.fromkeys(one.twin for one in faulty)
    controls = [Scenario(name, None, 0, 1) for name in list(CONTROLS)[::8]]
    return [*twins, *controls, *faulty]


def matching(found: Sequence[Scenario], patterns: Sequence[str]) -> list[Scenario]:
    """Scenarios that fit one of some shell patterns; all if there are none.

    The full name of a scenario fits even if it is not among those found.
    """
    if not patterns:
        return list(found)
    chosen = [one for one in found if any(fnmatch(one.name, p) for p in patterns)]
    named = [one for p in patterns if (one := scenario_named(p)) is not None]
    return list(dict.fromkeys([*chosen, *named]))


def scenario_named(name: str) -> Scenario | None:
    """The scenario of that name, None if there is no such name.

    >>> scenario_named("rate_too_high-mlp-2-0")
    Scenario(home='mlp', fault='rate_too_high', strength=2, seed=0)
    """
    parts = name.split("-")
    if len(parts) == 2 and parts[1].isdecimal():
        known = parts[0] in HOMES or parts[0] in CONTROLS
        return Scenario(parts[0], None, 0, int(parts[1])) if known else None
    if len(parts) != 4 or parts[2] not in ("1", "2", "3") or not parts[3].isdecimal():
        return None
    fits = [one for one in ALL if one.name == parts[0] and parts[1] in one.homes]
    return Scenario(parts[1], parts[0], int(parts[2]), int(parts[3])) if fits else None


def with_twins(found: Sequence[Scenario]) -> list[Scenario]:
    """The scenarios and the twins that their harm is measured against, first."""
    twins = [one.twin for one in found if one.fault is not None]
    return list(dict.fromkeys([*twins, *found]))
