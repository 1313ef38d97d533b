"""ARC: the controller with its defaults, which also acts on what it finds."""

from __future__ import annotations

from typing import Any

import torch

from benchmarks.zoo.peers.alarm import Peer, Watcher, model_of, number

WORDS = {
    "nan_loss": ("non-finite",),
    "nan_gradients": ("non-finite",),
    "nan_weights": ("non-finite",),
    "loss_explosion": ("loss spike", "divergence"),
    "gradient_explosion": ("gradient explodes",),
    "lyapunov_divergence": ("divergence", "update too large"),
    "drift_detected": ("divergence",),
    "weight_sparsity_explosion": ("dead units",),
    "weight_magnitude_collapse": ("decay",),
}


class Arc(Watcher):
    """`step` after the backward pass; a rollback happens inside, as for its users."""

    def start(self, task: Any) -> None:
        import arc

        config = arc.ControllerConfig(verbose=False)
        self.model, self.loss = model_of(task), None
        self.controller = arc.Controller(self.model, task.optimizer, config)

    def before_backward(self, step: int, loss: Any, batch: Any) -> None:
        self.loss = torch.tensor(number(loss))

    def before_update(self, step: int) -> None:
        action = self.controller.step(self.loss)
        if action.failure_type:
            self.say(step, action.failure_type.split(" (")[0])
        if action.should_skip:
            # Its users leave out the update; without gradients there is none.
            self.model.zero_grad(set_to_none=True)


PEER = Peer("ARC", "arc-training==5.2.0.post1", "live", Arc, WORDS)
