"""torchtest2: all its checks on the first batch, before the first step."""

from __future__ import annotations

import copy
from typing import Any

import torch

from benchmarks.zoo.peers.alarm import Peer, Watcher

WORDS = {
    "forward": ("non-finite",),
    "output_shape": ("loss wiring",),
    "output_finite": ("non-finite", "non-finite source"),
    "output_range": ("loss wiring",),
    "output_varies": ("outputs alike", "gradient vanishes"),
    "eval_determinism": ("random at evaluation",),
    "loss": ("loss wiring", "non-finite"),
    "initial_loss": ("initial loss",),
    "optimizer_coverage": ("parameters not held",),
    "gradient_flow": ("no gradient", "dead units"),
    "gradient_magnitude": ("gradient explodes", "initial variance"),
    "params_change": ("unchanged weights", "update too small"),
    "frozen_params": ("unchanged weights",),
    "input_dependency": ("unused module",),
    "batch_independence": ("batch mixing", "tiny batch"),
    "overfit_batch": ("not fitted", "update too small", "update too large"),
}

_BLAMED = ("missing", "none", "unchanged", "zero_grad", "non_finite")
"""Where its results keep the names of parameters."""


class Torchtest2(Watcher):
    """`check_model` on the first batch of the run.

    It wants a loss of outputs and targets: the loss of the task, given a model that
    has already answered.
    """

    def start(self, task: Any) -> None:
        self.task, self.done = task, False

    def before_backward(self, step: int, loss: Any, batch: Any) -> None:
        if not self.done:
            self.done = True
            with torch.random.fork_rng(devices=[]):
                self._check(batch)

    def _check(self, batch: Any) -> None:
        from torchtest2 import Status, check_model

        inputs, targets = batch

        def loss_fn(outputs: Any, wanted: Any) -> Any:
            return self.task.loss(lambda *given: outputs, (inputs, wanted))

        # What the loop holds (this step's graph) must not be in the way.
        model, optimizer = _twin(self.task)
        report = check_model(
            model, inputs, targets, loss_fn=loss_fn, optimizer=optimizer
        )
        for result in report:
            if result.status in (Status.WARN, Status.FAIL):
                self._say(result)

    def _say(self, result: Any) -> None:
        names = [
            str(name)
            for key in _BLAMED
            if isinstance(found := result.details.get(key), list | tuple)
            for name in found
        ]
        for layer in names or [""]:
            self.say(0, result.name, layer)


def _twin(task: Any) -> tuple[Any, Any]:
    """Copies of model and optimizer, tied to each other."""
    return copy.deepcopy((task.model, task.optimizer))


PEER = Peer("torchtest2", "torchtest2==0.1.0", "before", Torchtest2, WORDS)
