"""How often and how fast two players move: counts of updates, and rates.

These are two settings. Several updates of the critic for each of the generator
(Arjovsky et al. 2017) keep it near its optimum; two time-scale rates (Heusel et al.
2017) give both one update, of different length. Either works without the other.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from torch import nn

from surefoot.schedules.scheduled import Scheduled, value_at
from surefoot.tasks.gan.errors import GameError

Player = Literal["critic", "generator"]


@dataclass(frozen=True, slots=True)
class CriticSteps:
    """How many updates the critic has before each one of the generator.

    A pure function of the generator's step: nothing is to be saved, and a resumed run
    goes on from its step. `count` is 5 in Arjovsky et al. 2017; a schedule makes a warm
    start, such as the 100 updates before each of the first 25 of the authors' code:
    `CriticSteps(Then(Constant(100), Constant(5), at=25))`. Values between whole numbers
    are rounded.

    Raises:
        GameError: a number of updates that is not a whole one of 1 or more.

    >>> turns = CriticSteps(5)
    >>> turns(0)
    5
    >>> list(turns.order(steps=2)).count("critic")
    10
    """

    count: int | Scheduled = 5

    def __post_init__(self) -> None:
        if not isinstance(self.count, Scheduled) and (
            isinstance(self.count, bool) or self.count != math.floor(self.count)
        ):
            raise GameError(
                f"count={self.count!r} came; expected a whole number of critic updates"
            )
        self(0)

    def __call__(self, step: int) -> int:
        """Updates of the critic before the generator's update number `step`, from 0.

        Raises:
            GameError: the schedule gives fewer than 1.
            ScheduleError: the step is negative.
        """
        count = round(value_at(self.count, step))
        if count < 1:
            raise GameError(
                f"{value_at(self.count, step)!r} critic updates came for step {step}; "
                "expected 1 or more"
            )
        return count

    def order(self, *, steps: int, start: int = 0) -> Iterator[Player]:
        """Who moves, update by update, until the generator has moved `steps` times.

        Args:
            steps: updates of the generator.
            start: how many of its updates there were, when a run is resumed.
        """
        for step in range(start, start + steps):
            for _ in range(self(step)):
                yield "critic"
            yield "generator"


def two_rates(
    generator: nn.Module,
    critic: nn.Module,
    *,
    generator_lr: float = 1e-4,
    critic_lr: float = 4e-4,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Two parameter groups with a rate each (TTUR): the generator's, the critic's.

    For one optimizer that holds both players, or with one of them for each of two.
    Convergence is proved for rates whose ratio goes to zero (Heusel et al. 2017); the
    defaults are those of Zhang et al. 2019 (SAGAN).

    Raises:
        GameError: a rate that is not positive, or players that share a weight.

    >>> from torch.optim import Adam
    >>> nets = nn.Linear(2, 2), nn.Linear(2, 1)
    >>> optimizer = Adam(two_rates(*nets), betas=(0.0, 0.9))
    >>> [(group["name"], group["lr"]) for group in optimizer.param_groups]
    [('generator', 0.0001), ('critic', 0.0004)]
    """
    for name, rate in (("generator_lr", generator_lr), ("critic_lr", critic_lr)):
        if not (rate > 0 and math.isfinite(rate)):
            raise GameError(f"{name}={rate!r} came; expected a positive rate")
    weights = list(generator.parameters()), list(critic.parameters())
    if {id(one) for one in weights[0]} & {id(one) for one in weights[1]}:
        raise GameError(
            "the generator and the critic share a weight; expected two networks, as "
            "what both move has no rate of its own"
        )
    return (
        {"params": weights[0], "lr": generator_lr, "name": "generator"},
        {"params": weights[1], "lr": critic_lr, "name": "critic"},
    )
