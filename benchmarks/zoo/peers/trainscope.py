"""trainscope: its spikes at the step, its early signals from the report."""

from __future__ import annotations

import asyncio
from typing import Any

from benchmarks.zoo.peers.alarm import Peer, Watcher, model_of, number

WORDS = {
    "spike": ("loss spike",),
    "loss": ("loss spike",),
    "grad_norm": ("gradient explodes",),
    "kurtosis": ("input shift", "saturation"),
    "concentration": ("rank collapse",),
    "explosion": ("divergence", "non-finite"),
}


class Trainscope(Watcher):
    """`step` before the optimizer's, as its manual prefers; then its own report."""

    def start(self, task: Any) -> None:
        from trainscope.core.config import TrainScopeConfig
        from trainscope.scope import TrainScope

        config = TrainScopeConfig(run_dir=str(self.folder), run_name="run")
        self.scope = TrainScope(model_of(task), task.optimizer, config).attach()
        self.losses: dict[int, float] = {}

    def before_backward(self, step: int, loss: Any, batch: Any) -> None:
        self.losses[step] = number(loss)

    def before_update(self, step: int) -> None:
        if self.scope.step(self.losses.get(step, 0.0)) is not None:
            self.say(step, "spike")

    def end(self) -> None:
        from trainscope.analysis import run_signal_signature

        self.scope.detach()
        found = asyncio.run(run_signal_signature(self.folder / "run"))
        for name, step in found["first_steps"].items():
            self.say(step, name)
        if found["explosion_step"] is not None:
            self.say(found["explosion_step"], "explosion")


PEER = Peer("trainscope", "trainscope==1.8.1", "live", Trainscope, WORDS)
