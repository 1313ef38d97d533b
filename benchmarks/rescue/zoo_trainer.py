"""A scenario of the zoo as a Trainer: a plan comes in, an attempt and scores go out.

Half of the held-out examples choose between attempts, the other half report.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from surefoot.autopilot.apply import apply_changes
from surefoot.autopilot.live import KnobError, Live
from surefoot.autopilot.pilot import Pilot
from surefoot.autopilot.policy import Mode, Policy
from surefoot.rescue.attempt import Attempt, Measure, Plan
from surefoot.types import Diagnosis, Event
from surefoot.zoo.judging import read, said
from surefoot.zoo.scenario import Scenario, planted
from surefoot.zoo.task import Losses, Scores, Task, before_step
from surefoot.zoo.train import Watching, scored, train

MODES: Mapping[str, Mode] = {"guard": "guard", "steer": "steer"}


class EnoughError(Exception):
    """The plan's last update was made."""


class Until(Watching):
    """Watches a training if asked, keeps its losses, and ends it where the plan does.

    Without a folder nothing is recorded: short trials are judged by numbers alone.
    """

    def __init__(self, folder: Path | None, until: int | None, mode: str = "") -> None:
        super().__init__(folder or Path(), "attempt")
        self.recorded, self.until, self.mode = folder is not None, until, mode
        self.pilot: Pilot | None = None
        self.told: list[Event] = []
        self.values: list[float] = []

    def start(self, task: Task) -> None:
        """Begin the record, if there is one, and the autopilot."""
        if self.recorded:
            super().start(task)
        if self.mode:
            live = Live(task.models, tuple(task.optimizers.values()))
            policy = Policy(mode=MODES[self.mode], steps=task.steps)
            self.pilot = Pilot(live, policy, tell=self.told.append)

    def before_backward(self, step: int, loss: Losses, batch: Any) -> None:
        """The autopilot hears of each loss."""
        if self.pilot is not None and isinstance(loss, torch.Tensor):
            self.pilot.see_loss(loss)

    def end(self) -> None:
        """Close the record, and let go of the optimizers."""
        if self.pilot is not None:
            self.pilot.close()
        super().end()

    def after_update(self, step: int, loss: Losses, batch: Any) -> None:
        """Keep the loss; end where the plan ends."""
        super().after_update(step, loss, batch)
        parts = loss.values() if isinstance(loss, dict) else [loss]
        self.values.append(sum(float(torch.as_tensor(one).detach()) for one in parts))
        if self.until is not None and step + 1 >= self.until:
            raise EnoughError


@dataclass
class ZooTrainer:
    """Trains a scenario under plans; `scores` are those of the attempts by plan."""

    scenario: Scenario
    scores: dict[Plan, Scores | None] = field(
        default_factory=dict[Plan, "Scores | None"]
    )
    length: int = 0
    acts: dict[Plan, int] = field(default_factory=dict[Plan, int])

    @property
    def measure(self) -> Measure:
        """Accuracy where there is one, else the loss."""
        return Measure("accuracy", True) if self._classes else Measure("loss", False)

    @property
    def _classes(self) -> bool:
        return self.scenario.home not in ("gan", "policy")

    def attempt(self, plan: Plan) -> Attempt:
        """Train the scenario's task anew."""
        task = self._task()
        self.length = task.steps
        with TemporaryDirectory() as place:
            folder = Path(place) if plan.until is None else None
            watching = Until(folder, plan.until, plan.autopilot)
            try:
                self._prepare(task, plan)
                train(task, watching)
                failed = ""
            except KnobError as error:
                return Attempt(plan, 0, refused=str(error))
            except EnoughError:
                failed = ""
            except (RuntimeError, ValueError, ArithmeticError) as error:
                failed = f"{type(error).__name__}: {error}"
            watching.end()
            found = _diagnoses(watching)
        self.acts[plan] = len(watching.told)
        scores = None if failed else scored(task)
        self.scores[plan] = scores
        losses = tuple(watching.values)
        chosen = None if scores is None else half(scores, 0)
        return Attempt(plan, len(losses), losses, chosen, found, None, failed)

    def _task(self) -> Task:
        """What is trained, built anew."""
        return planted(self.scenario)[0]

    def _prepare(self, task: Task, plan: Plan) -> None:
        def act() -> None:
            live = Live(task.models, tuple(task.optimizers.values()), plan.at)
            apply_changes(plan.changes, live, "a rescue", lambda event: None)

        if plan.changes and plan.at:
            before_step(task, plan.at, act)
        elif plan.changes:
            act()

    def reported(self, plan: Plan) -> float | None:
        """The measure of an attempt on the half that chooses nothing."""
        return half(self.scores.get(plan), 1)


def half(scores: Scores | None, which: int) -> float | None:
    """Mean accuracy, or loss where there is none, of every second example."""
    if scores is None:
        return math.nan
    with np.errstate(over="ignore", invalid="ignore"):
        if scores.right is None:
            return float(scores.loss[which::2].mean())
        return float(scores.right[which::2].mean())


def _diagnoses(watching: Until) -> tuple[Diagnosis, ...]:
    run = watching.run
    if run is None or run.path is None:
        return ()
    return said(read(run.path)).diagnoses
