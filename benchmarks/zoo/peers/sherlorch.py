"""sherlorch: a step whose loss is not finite, traced once more."""

from __future__ import annotations

import math
from typing import Any

import torch

from benchmarks.zoo.peers.alarm import Peer, Watcher, model_of, number

NAN = "first operation that is not finite"
WORDS = {NAN: ("non-finite", "non-finite source")}


class Sherlorch(Watcher):
    """`trace` around the loss of each step that went wrong; nothing at the others."""

    def start(self, task: Any) -> None:
        self.task = task

    def before_backward(self, step: int, loss: Any, batch: Any) -> None:
        if math.isfinite(number(loss)):
            return
        import sherlorch

        with torch.random.fork_rng(devices=[]), sherlorch.trace() as tracker:
            tracker.watch(model_of(self.task), name="")
            again = self.task.loss(self.task.model, batch)
            found = tracker.diagnose(again).culprits
        for culprit in found:
            self.say(step, NAN, (culprit.module_path or "").lstrip("."))


PEER = Peer("sherlorch", "sherlorch==0.1.0", "live", Sherlorch, WORDS)
