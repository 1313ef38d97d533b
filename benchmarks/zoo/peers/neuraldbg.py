"""neuraldbg: events from hooks; its engine is not to be had, so the free part."""

from __future__ import annotations

from typing import Any

from benchmarks.zoo.peers.alarm import Peer, Watcher, model_of, number

WORDS = {
    "gradient vanishing": ("gradient vanishes", "no gradient"),
    "gradient exploding": ("gradient explodes",),
    "gradient saturated": ("gradient vanishes",),
    "activation saturated": ("saturation",),
    "activation dead": ("dead units",),
    "activation anomalous": ("non-finite",),
    "optimizer loss_plateau": ("plateau",),
    "optimizer loss_spike": ("loss spike",),
    "optimizer diverging": ("divergence", "non-finite"),
    "data nan_detected": ("non-finite", "non-finite source", "non-finite input"),
    "data inf_detected": ("non-finite", "non-finite source", "non-finite input"),
    "data distribution_shift": ("input shift",),
}
"""It has no levels: each change into a state that is not its healthy one counts."""

_HEALTHY = ("healthy", "normal", "stable")


class Neuraldbg(Watcher):
    """As its quick start, but with the step set by hand, else all events are at 0."""

    def start(self, task: Any) -> None:
        from neuraldbg import NeuralDbg

        self.tool = NeuralDbg(model_of(task))
        self.tool.__enter__()

    def after_update(self, step: int, loss: Any, batch: Any) -> None:
        self.tool.record_loss(number(loss))
        self.tool.step = step + 1

    def end(self) -> None:
        self.tool.__exit__(None, None, None)
        for event in self.tool.get_events():
            if event.to_state not in _HEALTHY:
                kind = event.event_type.value.split("_")[0]
                layer = event.layer_name.partition("_")[2]
                self.say(event.step, f"{kind} {event.to_state}", layer)


PEER = Peer("neuraldbg", "neuraldbg==1.3.2", "live", Neuraldbg, WORDS)
