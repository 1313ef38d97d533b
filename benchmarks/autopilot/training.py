"""A job comes in, what became of its run goes out."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn

from benchmarks.autopilot.data import held_out_loss
from benchmarks.autopilot.methods import Method, Row
from benchmarks.autopilot.tasks import Task


@dataclass(frozen=True, slots=True, order=True)
class Job:
    """One run, by the names of what it is made of."""

    seed: int
    task: str
    method: str
    rate: float


@dataclass(frozen=True, slots=True)
class Result:
    """Held-out losses before and after, None if not finite, and CPU time a step."""

    job: Job
    initial: float
    final: float | None
    milliseconds: float
    did: Mapping[str, int]

    def as_json(self) -> dict[str, Any]:
        """Plain values, from which `from_json` makes the same result."""
        return asdict(self)

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> Result:
        return cls(**{**told, "job": Job(**told["job"])})


def result(task: Task, row: Row, job: Job) -> Result:
    """Train once, on one thread."""
    torch.manual_seed(job.seed)
    model, data, method = task.network(), task.data(job.seed), row.made()
    initial = held_out_loss(model, data, task.loss)
    method.start(task, model, job.rate)
    start = time.process_time()
    steps = _train(task, method, data)
    seconds = time.process_time() - start
    did = method.ended()
    final = held_out_loss(model, data, task.loss)
    kept = final if math.isfinite(final) else None
    return Result(job, initial, kept, 1e3 * seconds / steps, did)


def _train(task: Task, method: Method, data: Any) -> int:
    """How many steps were taken: fewer where nothing more can come of it."""
    optimizer = method.optimizer
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, method.share)
    for step in range(task.steps):
        x, y = data.batch(step)
        loss = task.loss(method.model(x), y)
        optimizer.zero_grad()
        loss.backward()
        if method.permits(loss):
            optimizer.step()
        method.stepped(loss)
        scheduler.step()
        if not math.isfinite(loss.item()) and _lost(method):
            return step + 1
    return task.steps


def _lost(method: Method) -> bool:
    """Whether the weights are not finite, and nobody will put them back."""
    return not method.recovers and not finite(method.model)


def finite(model: nn.Module) -> bool:
    """Whether all weights are finite."""
    return all(bool(weight.isfinite().all()) for weight in model.parameters())
