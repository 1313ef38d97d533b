"""torchmortem: hooks during the run, a report after it."""

from __future__ import annotations

import logging
from typing import Any

from benchmarks.zoo.peers.alarm import Peer, Watcher, model_of, number

WORDS = {
    "Vanishing gradients detected": ("gradient vanishes",),
    "Exploding gradients detected": ("gradient explodes",),
    "Gradient stalling": ("gradient vanishes", "no gradient"),
    "High gradient noise (low SNR)": ("gradient noise",),
    "Training divergence detected": ("divergence",),
    "Loss plateau detected": ("plateau",),
    "Rank collapse": ("rank collapse",),
    "Activation saturation": ("saturation",),
    "Dead units": ("dead units",),
    "Update ratio too low": ("update too small",),
    "Update ratio too high": ("update too large",),
    "Weight norm explosion": ("weight growth",),
    "Stagnant weight norms": ("unchanged weights", "update too small"),
    "Inter-layer weight norm imbalance": ("weight imbalance",),
}


class Torchmortem(Watcher):
    """Its default sampling; each finding of its report counts at the last step."""

    def start(self, task: Any) -> None:
        from torchmortem import Autopsy

        logging.getLogger("torchmortem").setLevel(logging.CRITICAL)
        self.autopsy = Autopsy(model_of(task), optimizer=task.optimizer)
        self.autopsy.attach()
        self.last = task.steps - 1

    def after_update(self, step: int, loss: Any, batch: Any) -> None:
        self.autopsy.step(loss=number(loss))

    def end(self) -> None:
        from torchmortem.types import Severity

        self.autopsy.detach()
        report = self.autopsy.get_report()
        for finding in report.findings:
            if finding.severity >= Severity.WARNING:
                for layer in finding.affected_layers or [""]:
                    self.say(self.last, finding.title.split(" in ")[0], layer)


PEER = Peer("torchmortem", "torchmortem==0.1.1", "report", Torchmortem, WORDS)
