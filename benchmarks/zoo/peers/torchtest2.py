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


class Asked:
    """A model that remembers what it was asked, or only gives an answer of before."""

    def __init__(self, model: Any = None, answer: Any = None) -> None:
        self.model, self.answer = model, answer
        self.questions: list[tuple[Any, ...]] = []

    def __call__(self, *question: Any) -> Any:
        self.questions.append(question)
        return self.answer if self.model is None else self.model(*question)


class Torchtest2(Watcher):
    """`check_model` on the first batch of the run.

    It wants a model of one input, and a loss of outputs and targets: that is the loss
    of the task, given a model that has already answered. A task that asks its model
    otherwise cannot be checked, and the tool stays silent.
    """

    def start(self, task: Any) -> None:
        self.task, self.done = task, False
        self.rates = [group["lr"] for group in task.optimizer.param_groups]

    def before_backward(self, step: int, loss: Any, batch: Any) -> None:
        if not self.done:
            self.done = True
            with torch.random.fork_rng(devices=[]):
                self._check(batch)

    def _check(self, batch: Any) -> None:
        from torchtest2 import Status, check_model

        # What the loop holds (this step's graph) must not be in the way.
        model, optimizer = copy.deepcopy((self.task.model, self.task.optimizer))
        for group, rate in zip(optimizer.param_groups, self.rates, strict=True):
            group["lr"] = rate * self._factor()
        question = self._question(copy.deepcopy(model), batch)
        if question is None:
            return

        def loss_fn(outputs: Any, *targets: Any) -> Any:
            answered = Asked(answer=outputs)
            return self.task.loss(answered, (batch[0], *targets, *batch[2:]))

        targets = batch[1] if len(batch) > 1 else None
        report = check_model(
            model, question, targets, loss_fn=loss_fn, optimizer=optimizer
        )
        for result in report:
            if result.status in (Status.WARN, Status.FAIL):
                self._say(result)

    def _factor(self) -> float:
        """The largest factor of the schedule's first quarter.

        In the first step of a warm-up, for which it does not ask, nothing is learnt.
        """
        if self.task.schedule is None:
            return 1.0
        return max(map(self.task.schedule, range(1 + self.task.steps // 4)))

    def _question(self, model: Any, batch: Any) -> Any:
        """The one tensor that the loss asks the model about, if it is one."""
        asked = Asked(model)
        try:
            self.task.loss(asked, batch)
        except (AttributeError, TypeError):
            return None
        first = asked.questions[0] if len(asked.questions) == 1 else ()
        return first[0].detach() if len(first) == 1 else None

    def _say(self, result: Any) -> None:
        names = [
            str(name)
            for key in _BLAMED
            if isinstance(found := result.details.get(key), list | tuple)
            for name in found
        ]
        for layer in names or [""]:
            self.say(0, result.name, layer)


PEER = Peer("torchtest2", "torchtest2==0.1.0", "before", Torchtest2, WORDS)
