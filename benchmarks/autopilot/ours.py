"""The autopilot as its users switch it on: a task comes in, it is steered."""

from __future__ import annotations

from collections.abc import Mapping
from tempfile import TemporaryDirectory

import torch
from torch import nn

import surefoot
from benchmarks.autopilot.actions import counted
from benchmarks.autopilot.methods import Method
from benchmarks.autopilot.tasks import Task
from surefoot.autopilot.policy import Mode, Policy


class Autopilot(Method):
    """`surefoot.watch(..., autopilot=Policy(mode=...))` around the plain loop."""

    recovers = True

    def __init__(self, mode: Mode) -> None:
        self.mode: Mode = mode

    def start(self, task: Task, model: nn.Module, rate: float) -> None:
        super().start(task, model, rate)
        self.folder = TemporaryDirectory()
        self.run = surefoot.watch(
            model,
            self.optimizer,
            folder=self.folder.name,
            autopilot=Policy(mode=self.mode),
        )

    def stepped(self, loss: torch.Tensor) -> None:
        self.run.step(loss)

    def ended(self) -> Mapping[str, int]:
        self.run.close()
        did = dict(counted(self.run.path))
        self.folder.cleanup()
        return did
