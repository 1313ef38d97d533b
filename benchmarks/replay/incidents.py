"""Scenarios of the zoo come in, incidents go out, as an alarm would have them made.

A run is stopped some steps after its fault was planted, as a lookout sees it then; the
record so far is diagnosed, and the last good state before the diagnosed onset kept,
with all batches since. A run whose record gives no alarm makes no incident.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from surefoot.blackbox.incident import Incident, Micro, StepRecord
from surefoot.blackbox.state import State, Trained, capture
from surefoot.diagnosis.examine import examine
from surefoot.gradients.norms import total_norm
from surefoot.record.reader import RecordReader
from surefoot.restore.random_streams import RandomStreams
from surefoot.types import Diagnosis
from surefoot.zoo.scenario import Scenario, planted
from surefoot.zoo.task import Losses, Task, Truth
from surefoot.zoo.train import Watching, train

EVERY = 10
"""Steps between two states: a snapshot of a small network costs next to nothing."""

OLDER = 12
"""Steps by which the last good state is older than the diagnosed onset."""

ALARM = 25
"""Steps from a fault to its alarm: looks three seconds apart at 0.1 s a step."""


class _StoppedError(Exception):
    """The alarm came."""


class Keeping(Watching):
    """Watches as a user does, and keeps states and batches beside."""

    def __init__(self, folder: Path, name: str, last: int) -> None:
        super().__init__(folder, name)
        self.rows: list[StepRecord] = []
        self.states: list[State] = []
        self._last = last
        self._task: Task | None = None
        self._micro: list[Micro] = []
        self._own: list[float] = []
        self._random = RandomStreams()

    def start(self, task: Task) -> None:
        """Begin the record."""
        super().start(task)
        self._task = task
        # The loop seeds its streams after this, and draws no batch before.
        torch.manual_seed(task.training_seed)
        self.begin(0)

    def begin(self, step: int) -> None:
        """A step is about to be made; its batch is not drawn yet."""
        if step % EVERY == 0 and self._task is not None:
            trained = Trained(self._task.models, self._task.optimizers)
            self.states.append(capture(trained, step))
        self._random = RandomStreams()

    def before_backward(self, step: int, loss: Losses, batch: Any) -> None:
        """Keep the batch, with the random streams as they were before its pass."""
        copy = tuple(one.clone() for one in batch)
        self._micro.append(Micro(copy, self._random))
        assert isinstance(loss, torch.Tensor)
        self._own.append(float(loss.detach()))
        self._random = RandomStreams()

    def before_update(self, step: int) -> None:
        """Keep rates and the length of the gradient."""
        assert self._task is not None
        optimizers = self._task.optimizers
        rates = {
            k: tuple(g["lr"] for g in o.param_groups) for k, o in optimizers.items()
        }
        norm = math.hypot(*(float(total_norm(one)) for one in optimizers.values()))
        row = StepRecord(step, tuple(self._own), rates, norm, tuple(self._micro))
        self.rows.append(row)
        self._micro, self._own = [], []

    def after_update(self, step: int, loss: Losses, batch: Any) -> None:
        """Tell the run; stop where the alarm comes."""
        super().after_update(step, loss, batch)
        self.begin(step + 1)
        if step >= self._last:
            raise _StoppedError


@dataclass(frozen=True, slots=True)
class Made:
    """What one scenario gave: no incident where nothing was alarming."""

    scenario: Scenario
    truth: Truth | None
    diagnosis: Diagnosis | None
    incident: Incident | None


def made(scenario: Scenario, folder: Path) -> Made:
    """Train a scenario up to its alarm, and make the incident of it.

    A healthy run gets an alarm at an arbitrary moment, its middle.
    """
    task, truth = planted(scenario)
    onset = task.steps // 2 if truth is None else truth.onset
    keeping = Keeping(folder, scenario.name, min(onset + ALARM, task.steps - 1))
    try:
        train(task, keeping)
    except _StoppedError:
        keeping.end()
    found = _diagnosed(keeping)
    if truth is not None and not found:
        return Made(scenario, truth, None, None)
    first = found[0] if found else None
    alarmed = onset if truth is None or first is None else first.onset
    incident = _incident(keeping, alarmed, first)
    return Made(scenario, truth, first, incident)


def _diagnosed(keeping: Keeping) -> list[Diagnosis]:
    assert keeping.run is not None
    assert keeping.run.path is not None
    with RecordReader(keeping.run.path) as reader:
        return list(examine(reader))


def _incident(keeping: Keeping, onset: int, found: Diagnosis | None) -> Incident:
    older = [one for one in keeping.states if one.step <= onset - OLDER]
    state = older[-1] if older else keeping.states[0]
    steps: Sequence[StepRecord] = [r for r in keeping.rows if r.step >= state.step]
    layers = () if found is None or found.layer == "run" else (found.layer,)
    reason = "an arbitrary moment" if found is None else found.cause
    last = keeping.rows[-1].step
    return Incident({}, reason, last, onset, layers, state, tuple(steps))
