"""stabilityguard: its optimizer around the run's own; the reports that it writes."""

from __future__ import annotations

import json
from typing import Any

from benchmarks.zoo.peers.alarm import Peer, Watcher

SPIKE, NAN = "spike", "not finite"
WORDS = {SPIKE: ("gradient explodes",), NAN: ("non-finite",)}


class Stabilityguard(Watcher):
    """Its defaults; a step that it finds fault with is skipped, as for its users."""

    def start(self, task: Any) -> None:
        from stabilityguard import GuardedOptimizer

        for name, optimizer in list(task.optimizers.items()):
            model = task.models.get(name, task.model)
            task.optimizers[name] = GuardedOptimizer(
                optimizer, model, verbose=False, log_dir=str(self.folder / name)
            )

    def end(self) -> None:
        for path in self.folder.rglob("spike_step*.json"):
            report = json.loads(path.read_text(encoding="utf-8"))
            found = report["snapshot"]
            # It counts steps from one.
            name = NAN if report["nan_layers"] else SPIKE
            self.say(found["step"] - 1, name, found["spike_layer"] or "")
        self.alarms.sort(key=lambda alarm: alarm.step)


PEER = Peer("stabilityguard", "stabilityguard==0.3.0", "live", Stabilityguard, WORDS)
