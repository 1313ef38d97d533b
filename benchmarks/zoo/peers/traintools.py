"""traintools: the inspectors of gradients, batches and activations, at each step."""

from __future__ import annotations

from typing import Any

from benchmarks.zoo.peers.alarm import Peer, Watcher, model_of

WORDS = {
    "has non-finite gradients": ("non-finite",),
    "gradient appears vanished": ("gradient vanishes", "no gradient"),
    "gradient is very large": ("gradient explodes",),
    "update/weight ratio is high": ("update too large",),
    "global update/weight ratio is tiny": ("update too small",),
    "no gradients found": ("no gradient",),
    "has non-finite values": ("non-finite input",),
    "abs max": ("input scale",),
    "is nearly constant": ("input scale", "imbalance"),
    "dominant class covers": ("imbalance",),
    "labels outside": ("labels",),
    "is empty": ("labels",),
    "plasticity critical": ("dead units", "rank collapse"),
}
"""Its warnings are sentences; these are the parts of them that do not vary."""

_GLOBAL = ("global", "no", "dominant", "labels", "inputs", "targets")


class Traintools(Watcher):
    """As its quick start: both inspectors at each step, the tracker after it.

    The tracker gets no batch: what it would say of one, the scale of the gradient's
    noise, is a number and no warning.
    """

    def start(self, task: Any) -> None:
        from traintools import BatchInspector, GradientHealthMonitor
        from traintools.callbacks.pytorch import TraintoolsTracker

        self.model, self.optimizer = model_of(task), task.optimizer
        self.batches = BatchInspector()
        self.gradients = GradientHealthMonitor()
        self.tracker = TraintoolsTracker(self.model, task.loss, verbose=False)

    def before_backward(self, step: int, loss: Any, batch: Any) -> None:
        inputs, targets = (*batch, None)[:2]
        self._warn(step, self.batches.inspect(inputs, targets, step=step).warnings)

    def before_update(self, step: int) -> None:
        rate = self.optimizer.param_groups[0]["lr"]
        report = self.gradients.inspect(self.model, step=step, lr=rate)
        self._warn(step, report.warnings)

    def after_update(self, step: int, loss: Any, batch: Any) -> None:
        before = len(self.tracker.plasticity_history.results)
        self.tracker.step(step=step)
        for result in self.tracker.plasticity_history.results[before:]:
            for layer in result.critical_layers:
                self.say(step, "plasticity critical", layer)

    def _warn(self, step: int, warnings: list[str]) -> None:
        for warning in warnings:
            names = [name for name in WORDS if name in warning]
            first = warning.split()[0]
            layer = "" if first.split(".")[0] in _GLOBAL else first
            self.say(step, max(names, key=len, default=warning), layer)


PEER = Peer("traintools", "traintools==0.6.2", "live", Traintools, WORDS)
